"""Where a result is filed: the experiment, and as parent the run of the backend's own plugin if there is one."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from flprivacy.core.artifacts import VERDICTS_FILE
from flprivacy.tracking.attempts import close_stale_runs, file_once
from flprivacy.tracking.server import connected, table_of_runs, without_password

LOGGER = logging.getLogger(__name__)

PLUGIN_RUN_VARIABLE = "MLFLOW_RUN_ID"
# Of the pipeline run that filed a result, and of all others that came to the same one, separated by blanks.
KFP_RUN_TAG, MORE_KFP_RUNS_TAG = "audit.kfp_run", "audit.more_kfp_runs"
_MOST_KFP_RUNS = 200  # whose ids are no longer than a tag may be
_NOTE_LENGTH = 8000  # longer tags are refused
# For servers whose page of an experiment goes by its kind: that of runs, not of traces.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such run, or no id of one


@dataclass(frozen=True, kw_only=True)
class Filing:
    """What is known of the pipeline run for which something is filed."""

    kfp_run: str = ""  # id of the pipeline run; empty if there is none
    plugin_run: str = ""  # id of the run that the backend's own MLflow plugin created for the step, if enabled


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """Where something was filed. ``found`` is true if an earlier call had already filed it."""

    run_id: str
    name: str
    experiment: str
    experiment_id: str
    tracking_uri: str
    found: bool

    def table_of_runs(self) -> str:
        """Return the address of the table of its experiment's runs, in MLflow's pages."""
        return table_of_runs(self.tracking_uri, self.experiment_id)


def run_name(pipeline: str, name: str, verdict: str) -> str:
    """Return what a run is called in a list of many: pipeline, what was audited, day, and verdict.

    ``pipeline`` is its name, or the command that repeats the run.
    """
    match pipeline.split():
        case ["flprivacy", "run", title, *_] | [title]:
            pass
        case _:
            title = ""
    return " ".join(word for word in (title, name, f"{datetime.now(UTC):%Y-%m-%d}", verdict) if word)


def note_of(report: Path) -> dict[str, str]:
    """Return the tag that MLflow shows as a run's description: the report's first lines and verdicts, as Markdown."""
    file = report / VERDICTS_FILE
    return {"mlflow.note.content": file.read_text()[:_NOTE_LENGTH]} if file.is_file() else {}


def filing_from_environment(kfp_run: str = "") -> Filing:
    """Return what the environment says about the plugin's run."""
    return Filing(kfp_run=kfp_run, plugin_run=os.environ.get(PLUGIN_RUN_VARIABLE, ""))


def log_once(
    *,
    cohort: str,
    name: str,
    digest: str,
    tags: Mapping[str, str],
    fill: Callable[[MlflowClient, str, str], None],
    filing: Filing | None,
) -> LoggedRun:
    """File a result once: in the experiment of a cohort, or under the run of the backend's own plugin.

    After an error a later call starts over and leaves one run.

    Args:
        cohort: its name.
        name: of the run.
        digest: of the result; a finished run with this digest is found, not logged again.
        tags: of the run.
        fill: logs everything; takes a client, the experiment's id and the run's.
        filing: for which pipeline run; None for none.
    """
    filing = filing or Filing()
    with connected() as (client, uri):
        experiment, parent = _find_place(client, cohort, uri, filing)
        close_stale_runs(client, [experiment], kfp_run=filing.kfp_run)
        run, found = file_once(
            client,
            experiment,
            name=name,
            digest=digest,
            tags={**tags, **({KFP_RUN_TAG: filing.kfp_run} if filing.kfp_run else {})},
            parent=parent,
            fill=lambda run: fill(client, experiment, run),
        )
        if found and filing.kfp_run:
            _add_kfp_run(client, run, filing.kfp_run)
        info = client.get_run(run).info
        return LoggedRun(
            run_id=run,
            name=str(info.run_name or name),
            experiment=client.get_experiment(info.experiment_id).name,
            experiment_id=str(info.experiment_id),
            tracking_uri=without_password(uri),
            found=found,
        )


def _add_kfp_run(client: MlflowClient, run: str, kfp_run: str) -> None:
    """Note at a result that was filed before that another pipeline run came to it."""
    tags = client.get_run(run).data.tags
    earlier = tags.get(MORE_KFP_RUNS_TAG, "").split()
    if kfp_run not in (tags.get(KFP_RUN_TAG), *earlier):
        client.set_tag(run, MORE_KFP_RUNS_TAG, " ".join([*earlier, kfp_run][-_MOST_KFP_RUNS:]))


def _find_place(client: MlflowClient, cohort_name: str, uri: str, filing: Filing) -> tuple[str, str | None]:
    """Return the plugin's experiment and run if there is one, else the cohort's experiment, created if need be.

    A nested run must be in the experiment of its parent, or MLflow's UI shows them apart.
    """
    if filing.plugin_run:
        try:
            run = client.get_run(filing.plugin_run)
        except MlflowException as error:
            if error.error_code not in _MISSING:
                raise
            LOGGER.warning(
                "%s is %s, which %s does not have; filed as a top-level run",
                PLUGIN_RUN_VARIABLE,
                filing.plugin_run,
                without_password(uri),
            )
        else:
            if run.info.lifecycle_stage == "active":
                return str(run.info.experiment_id), filing.plugin_run
    return _experiment(client, cohort_name, uri), None


def _experiment(client: MlflowClient, name: str, uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=_artifact_location(uri, name), tags=_KIND))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = client.get_experiment_by_name(name)  # another process created it meanwhile
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _artifact_location(uri: str, name: str) -> str | None:
    """Return a folder beside a local database; a server knows its own place (None)."""
    path = uri.removeprefix("sqlite:///")
    return (Path(path).absolute().parent / "mlartifacts" / name).as_uri() if path != uri else None
