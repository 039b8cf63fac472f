"""How checks are filed: of private training as a run, of a generator as a run or as metrics of its audit."""

import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from flprivacy.core.artifacts import FIGURES_FOLDER, GENERATOR_AUDIT_FILE, REPORT_FILE
from flprivacy.core.dp_check import DpCheck
from flprivacy.core.generator_audit import GeneratorAudit
from flprivacy.core.membership import MembershipFinding, SiteExposure
from flprivacy.tracking.filing import Filing, LoggedRun, log_once, run_name
from flprivacy.tracking.server import moving_artifacts

_NO_COHORT = "dp_check"


def log_generator(audit: GeneratorAudit, *, digest: str, folder: Path, filing: Filing | None = None) -> LoggedRun:
    """Log the audit of a generator once, keyed by the digest of its file: its numbers, its page and its figures.

    Pictures of patients, which the folder holds too, are left where they are.
    """
    verdict = audit.memorisation.verdict
    tags = {
        "audit.kind": "generator",
        "audit.cohort": audit.cohort_name,
        "audit.cohort_digest": audit.cohort_digest,
        "audit.generator_digest": audit.generator_digest,
        "audit.verdict": verdict,
        "audit.generator.memorisation": verdict,
        "mlflow.note.content": f"{verdict}: {audit.memorisation.reason}",
    }
    return log_once(
        cohort=audit.cohort_name,
        name=f"generator-{digest[:8]}",
        digest=digest,
        tags=tags,
        fill=lambda client, _, run: _fill(client, run, audit, folder),
        filing=filing,
    )


def _fill(client: MlflowClient, run: str, audit: GeneratorAudit, folder: Path) -> None:
    now = int(time.time() * 1000)
    params = {
        "audit.cohort_digest": audit.cohort_digest[:12],
        "audit.synthetic_digest": audit.synthetic_digest[:12],
        "audit.n_synthetic": str(audit.n_synthetic),
    }
    client.log_batch(
        run,
        metrics=[Metric(key, value, now, 0) for key, value in sorted(generator_metrics(audit).items())],
        params=[Param(key, value) for key, value in params.items()],
    )
    with moving_artifacts(f"run {run}"):
        for name in (GENERATOR_AUDIT_FILE, REPORT_FILE):
            client.log_artifact(run, str(folder / name))
        if (folder / FIGURES_FOLDER).is_dir():
            client.log_artifacts(run, str(folder / FIGURES_FOLDER), FIGURES_FOLDER)


def generator_metrics(audit: GeneratorAudit) -> dict[str, float]:
    """Return the metrics of a generator, such as ``generator.memorisation.p_value``."""
    found = audit.memorisation
    metrics = {
        "generator.memorisation.p_value": found.p_value,
        "generator.memorisation.suspects": float(found.suspects),
    }
    if audit.diversity is not None:
        metrics |= {"generator.density": audit.diversity.density, "generator.coverage": audit.diversity.coverage}
    fidelity = audit.fidelity
    measured = {"frechet": fidelity.distance, "frechet_floor": fidelity.floor} if fidelity is not None else {}
    for one in audit.agreement:
        how = "network" if one.classifier.startswith("a ") else "low_resolution"
        measured[f"agreement.{one.condition}.{how}"] = one.synthetic
    for check in audit.anatomy:
        measured[f"anatomy.{check.name.replace(' ', '_')}"] = check.distance
    for name, value in measured.items():
        key = f"generator.{name}"
        metrics |= {key: value.value, f"{key}.ci_low": value.low, f"{key}.ci_high": value.high}
    for finding in audit.membership:
        metrics |= membership_metrics(finding)
    return metrics


def membership_metrics(finding: MembershipFinding) -> dict[str, float]:
    """Return the metrics of the members of a target at one level, such as ``central.membership.scan.loss.auc``."""
    metrics: dict[str, float] = {}
    stem = f"{finding.target}.membership.{finding.level}"
    for attack in finding.attacks:
        for rate in attack.rates:
            key = f"{stem}.{attack.attack}.tpr_at_fpr_{rate.fpr:g}"
            metrics |= {key: rate.tpr, f"{key}.ci_low": rate.tpr_low, f"{key}.ci_high": rate.tpr_high}
            metrics[f"{key}.realised_fpr"] = rate.realised_fpr
        key = f"{stem}.{attack.attack}.auc"
        metrics |= {key: attack.auc.value, f"{key}.ci_low": attack.auc.low, f"{key}.ci_high": attack.auc.high}
        if (some := attack.vulnerable) is not None:
            key = f"{stem}.{attack.attack}.vulnerable.auc"
            metrics |= {key: some.auc.value, f"{key}.ci_low": some.auc.low, f"{key}.ci_high": some.auc.high}
    if finding.sites is not None:
        metrics |= _site_metrics(stem, finding.sites)
    if finding.epsilon_lower is not None:
        metrics[f"{stem}.epsilon_lower"] = finding.epsilon_lower
    return metrics


def _site_metrics(stem: str, sites: SiteExposure) -> dict[str, float]:
    """Return the metrics of a target's hospitals, such as ``central.membership.site.auc``."""
    metrics = {f"{stem}.p_value": sites.p_value, f"{stem}.noticed_auc": sites.noticed}
    areas = {"auc": sites.auc} | ({"held_out.auc": sites.held_out} if sites.held_out is not None else {})
    for name, one in areas.items():
        key = f"{stem}.{name}"
        metrics |= {key: one.value, f"{key}.ci_low": one.low, f"{key}.ci_high": one.high}
    if sites.held_out_p_value is not None:
        metrics[f"{stem}.held_out.p_value"] = sites.held_out_p_value
    return metrics


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
        fill=lambda client, _, run: _fill_check(client, run, check, folder),
        filing=filing,
    )


def _fill_check(client: MlflowClient, run: str, check: DpCheck, folder: Path) -> None:
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
