"""How a check of private training is filed: as one run."""

import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from flprivacy.core.dp_check import DpCheck
from flprivacy.tracking.filing import Filing, LoggedRun, log_once, run_name
from flprivacy.tracking.server import moving_artifacts

_NO_COHORT = "dp_check"


def log_check(check: DpCheck, *, digest: str, folder: Path, filing: Filing | None = None) -> LoggedRun:
    """Log a check once, keyed by the digest of its file, for a pipeline run or none; the whole folder as artifacts."""
    cohort = str(check.provenance.get("cohort", "")) or _NO_COHORT
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
    return log_once(
        cohort=cohort,
        name=run_name("dp_check", check.name, check.verdict),
        digest=digest,
        tags=tags,
        fill=lambda client, _, run: _fill(client, run, check, folder),
        filing=filing,
    )


def _fill(client: MlflowClient, run: str, check: DpCheck, folder: Path) -> None:
    now = int(time.time() * 1000)
    values = {"epsilon_claimed": check.claimed_epsilon, "epsilon_lower": check.epsilon_lower, "delta": check.delta}
    for bound in check.bounds:
        key = f"epsilon_lower.{bound.score}.{bound.method}"
        values[key] = max(bound.epsilon_lower, values.get(key, 0.0))
    for case in check.worst_cases:
        key = f"worst_case.{case.name.replace(' ', '_')}"
        values |= {f"{key}.epsilon_claimed": case.claimed_epsilon, f"{key}.epsilon_lower": case.bounds[0].epsilon_lower}
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
    with moving_artifacts(f"run {run}"):
        client.log_artifacts(run, str(folder))
