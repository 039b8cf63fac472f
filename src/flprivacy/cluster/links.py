"""Where in MLflow a pipeline's run is found."""

import os
from collections.abc import Mapping

from flprivacy.core.errors import TrackingError

TAG = "audit.kfp_run"
_VARIABLE = "MLFLOW_TRACKING_URI"


def mlflow_lines(run_id: str, links: Mapping[str, str]) -> list[str]:
    """Return a line for each MLflow run of a pipeline's run.

    Args:
        run_id: of the pipeline's run.
        links: what the backend's own MLflow plugin filed, by name.

    The steps' own runs are looked for if ``$MLFLOW_TRACKING_URI`` names a server; without one, or if it does not
    answer, the line tells the tag to look for.
    """
    lines = [f"{name}: {link}" for name, link in links.items()]
    if not os.environ.get(_VARIABLE, "").startswith(("http://", "https://")):
        return [*lines, f"the audit's run has the tag {TAG} = {run_id} (set {_VARIABLE} for its link)"]
    from flprivacy.tracking.links import run_pages

    try:
        pages = run_pages(run_id)
    except TrackingError as error:
        return [*lines, f"{error}; the audit's run has the tag {TAG} = {run_id}"]
    return [*lines, *(pages or [f"no run has the tag {TAG} = {run_id}"])]
