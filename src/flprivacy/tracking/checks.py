"""What is filed of a check of private training: one run."""

import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from flprivacy.core.dp_check import DpCheck
from flprivacy.tracking.attempts import close_stale_runs, file_once
from flprivacy.tracking.place import Filing, LoggedRun, find_place
from flprivacy.tracking.server import refusals, server_uri, without_password

_NO_COHORT = "dp_check"


def log_check(
    check: DpCheck, *, digest: str, folder: Path, filing: Filing | None = None, tracking_uri: str | None = None
) -> LoggedRun:
    """Log a check once, keyed by its digest.

    Args:
        check: what was found.
        digest: SHA-256 of the check's file; a finished run with this digest is found, not logged again.
        folder: with ``dp_check.json`` and ``report.html``, logged as artifacts.
        filing: for which pipeline run; None for none.
        tracking_uri: the MLflow server or database; ``$MLFLOW_TRACKING_URI`` if None.

    Raises:
        TrackingError: no server is named, it cannot be reached, or it refuses.
    """
    uri, filing = server_uri(tracking_uri), filing or Filing()
    with refusals(uri):
        client = MlflowClient(tracking_uri=uri)
        cohort = str(check.provenance.get("cohort", "")) or _NO_COHORT
        place = find_place(client, cohort, uri, filing)
        close_stale_runs(client, [place.experiment_id], kfp_run=filing.kfp_run)
        name = f"{check.name}-dp-check-{digest[:8]}"
        run, found = file_once(
            client,
            place.experiment_id,
            name=name,
            digest=digest,
            tags=_tags(check, cohort, filing),
            parent=place.parent,
            fill=lambda run: _fill(client, run, check, folder),
        )
        info = client.get_run(run).info
        return LoggedRun(
            run_id=run,
            name=name,
            experiment=client.get_experiment(info.experiment_id).name,
            experiment_id=str(info.experiment_id),
            tracking_uri=without_password(uri),
            found=found,
        )


def _tags(check: DpCheck, cohort: str, filing: Filing) -> dict[str, str]:
    tags = {
        "audit.kind": "dp_check",
        "audit.cohort": cohort,
        "audit.cohort_digest": check.cohort_digest,
        "audit.target": check.name,
        "audit.target_digest": check.target_digest,
        "audit.verdict": check.verdict,
        "audit.privacy_unit": check.unit,
        "mlflow.note.content": check.reason,
    }
    return tags | ({"audit.kfp_run": filing.kfp_run} if filing.kfp_run else {})


def _fill(client: MlflowClient, run: str, check: DpCheck, folder: Path) -> None:
    now = int(time.time() * 1000)
    values = {"epsilon_claimed": check.claimed_epsilon, "epsilon_lower": check.epsilon_lower, "delta": check.delta}
    for bound in check.bounds:
        key = f"epsilon_lower.{bound.score}.{bound.method}"
        values[key] = max(bound.epsilon_lower, values.get(key, 0.0))
    params = {
        "audit.canaries": check.canaries,
        "audit.canaries_included": str(check.n_included),
        "audit.canaries_excluded": str(check.n_excluded),
        "audit.confidence": f"{check.confidence:g}",
    }
    client.log_batch(
        run,
        metrics=[Metric(key, float(value), now, 0) for key, value in sorted(values.items())],
        params=[Param(key, value) for key, value in params.items()],
    )
    client.log_artifacts(run, str(folder))
