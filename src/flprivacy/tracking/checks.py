"""How a check of private training is filed: as one run."""

import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from flprivacy.core.dp_check import DpCheck
from flprivacy.tracking.filing import Filing, LoggedRun, log_once

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
    """
    cohort = str(check.provenance.get("cohort", "")) or _NO_COHORT
    return log_once(
        cohort=cohort,
        name=f"{check.name}-dp-check-{digest[:8]}",
        digest=digest,
        tags=_tags(check, cohort),
        fill=lambda client, _, run: _fill(client, run, check, folder),
        filing=filing,
        tracking_uri=tracking_uri,
    )


def _tags(check: DpCheck, cohort: str) -> dict[str, str]:
    return {
        "audit.kind": "dp_check",
        "audit.cohort": cohort,
        "audit.cohort_digest": check.cohort_digest,
        "audit.target": check.name,
        "audit.target_digest": check.target_digest,
        "audit.verdict": check.verdict,
        "audit.privacy_unit": check.unit,
        "mlflow.note.content": check.reason,
    }


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
