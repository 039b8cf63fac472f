"""How an audit is filed: a run for the whole, a child for each target and attack."""

import operator
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

from flprivacy.core.artifacts import AUDIT_FILE, CHANGE_FILE, SCORES_FOLDER
from flprivacy.core.attributes import MEMBERS, METRICS, metric_of
from flprivacy.core.audit import (
    INCONCLUSIVE,
    LEAK,
    NO_LEAK,
    Audit,
    Curve,
    ExcessEstimate,
    MetricEstimate,
    Verdict,
)
from flprivacy.core.change import AuditChange, Change, MembershipChange
from flprivacy.core.membership import SCAN
from flprivacy.core.parsing import to_mapping
from flprivacy.core.progress import track
from flprivacy.tracking.attempts import open_run
from flprivacy.tracking.checks import generator_metrics, membership_metrics
from flprivacy.tracking.filing import Filing, LoggedRun, log_once, note_of, run_name
from flprivacy.tracking.server import moving_artifacts

KEY_TAG, TARGET_TAG = "audit.key", "audit.target_digest"  # each followed by a target's name
_SCHEMA = "1"  # of tags, params and metrics
_BATCH = 900  # a batch holds at most 1,000 metrics
_PARAM_LENGTH = 6000
_DATASET_DIGEST_LENGTH = 36
_BUT_FRACTION = operator.attrgetter("target", "attribute", "access", "scans")  # of an AttackKey


def log_audit(
    audit: Audit,
    *,
    digest: str,
    folder: Path,
    report: Path,
    change: AuditChange | None = None,
    filing: Filing | None = None,
) -> LoggedRun:
    """Log an audit once, keyed by its digest; after an error a later call starts over and leaves one run.

    Args:
        audit: what was found.
        digest: SHA-256 of the audit's file; a finished run with this digest is found, not logged again.
        folder: with ``audit.json`` and ``scores``, logged as artifacts.
        report: folder with ``report.html`` and ``figures``, logged as artifacts.
        change: what changed since the last audit; None if that was not asked.
        filing: for which pipeline run; None for none.
    """

    tags = _parent_tags(audit, change)

    def fill(client: MlflowClient, experiment: str, run: str) -> None:
        _log_parent(client, run, audit, folder, report, change)
        verdicts = sorted(audit.verdicts, key=lambda v: (v.attack.target, v.attack.attribute, v.attack.access))
        for verdict in track(verdicts, "Logging to MLflow"):
            _log_child(client, experiment, run, audit, verdict, digest, report)

    return log_once(
        cohort=audit.cohort_name,
        name=run_name(str(audit.provenance.get("command", "")), audit.name, tags["audit.verdict"]),
        digest=digest,
        tags=tags | note_of(report),
        fill=fill,
        filing=filing,
    )


def _parent_tags(audit: Audit, change: AuditChange | None) -> dict[str, str]:
    keys = audit.provenance.get("keys", {})
    verdicts = [v.verdict for v in audit.verdicts] + [f.verdict for f in audit.membership]
    tags = {
        "audit.kind": "audit",
        "audit.schema": _SCHEMA,
        "audit.cohort": audit.cohort_name,
        "audit.cohort_digest": audit.cohort_digest,
        "audit.command": str(audit.provenance.get("command", "")),
        "audit.leaks": str(verdicts.count(LEAK)),
        "audit.inconclusive": str(verdicts.count(INCONCLUSIVE)),
        "audit.verdict": _gravest(verdicts),  # no leak is no clearance where nothing is settled
    }
    tags |= {f"audit.membership.{f.target}.{f.level}": f.verdict for f in audit.membership if f.verdict}
    for question in dict.fromkeys(v.question for v in audit.verdicts if v.question):
        tags[f"audit.verdict.{question}"] = _gravest([v.verdict for v in audit.verdicts if v.question == question])
    for target in audit.targets:
        if target.role == "target" and target.name in keys:
            tags |= {f"{KEY_TAG}.{target.name}": keys[target.name], f"{TARGET_TAG}.{target.name}": target.digest}
    if audit.generator is not None:
        tags["audit.generator.memorisation"] = audit.generator.memorisation.verdict
    if change is not None:
        tags |= {"audit.change": change.verdict, "mlflow.note.content": f"{change.verdict}: {change.reason}"}
        tags |= {f"audit.change.{one.target}": one.verdict for one in change.targets}
    return tags


def _gravest(verdicts: Sequence[str]) -> str:
    return next((word for word in (LEAK, INCONCLUSIVE, NO_LEAK) if word in verdicts), "not judged")


def _log_parent(
    client: MlflowClient, run: str, audit: Audit, folder: Path, report: Path, change: AuditChange | None
) -> None:
    metrics: dict[str, float] = {}
    for target in audit.targets:
        metrics |= {f"{target.name}.{k}": v for k, v in target.metrics().items()}
    for verdict in audit.verdicts:
        stem = f"{verdict.attack.target}.{verdict.attack.attribute}.{_access(verdict)}"
        metrics |= {
            f"{stem}.{verdict.metric}": verdict.value,
            f"{stem}.excess_{METRICS[verdict.metric].key}": verdict.excess,
        }
    for finding in audit.membership:
        metrics |= membership_metrics(finding)
    metrics |= generator_metrics(audit.generator) if audit.generator is not None else {}
    for one in change.targets if change is not None else ():
        for c in one.compared:
            stem = f"{_compared(c)}.change_{metric_of(c.metric).key}"
            metrics |= {stem: c.value, f"{stem}.ci_low": c.ci_low, f"{stem}.ci_high": c.ci_high}
            metrics[f"{stem}.p_adjusted"] = c.p_adjusted
    params = {
        "audit.name": audit.name,
        "audit.targets": ", ".join(t.name for t in audit.targets if t.role == "target"),
        "audit.baselines": ", ".join(t.name for t in audit.targets if t.role == "baseline"),
        "audit.cohort_digest": audit.cohort_digest[:12],
    }
    partly = [t for t in audit.targets if t.tensors_matched < t.tensors_total]
    if partly:
        words = (f"{t.name}: {t.tensors_matched} of {t.tensors_total} tensors" for t in partly)
        params["audit.partly_loaded"] = "; ".join(words)
    attack = audit.config.get("attack", {})
    params |= {f"audit.attack.{key}": str(value) for key, value in attack.items()}
    _log(client, run, metrics, params)
    client.log_inputs(run, [_dataset(audit)])
    with moving_artifacts(f"run {run}"):
        client.log_artifact(run, str(folder / AUDIT_FILE))
        if (folder / SCORES_FOLDER).is_dir():
            client.log_artifacts(run, str(folder / SCORES_FOLDER), SCORES_FOLDER)
        client.log_artifacts(run, str(report))
        if change is not None:
            client.log_dict(run, to_mapping(change), CHANGE_FILE)


def _compared(change: Change) -> str:
    if isinstance(change, MembershipChange):
        return f"{change.target}.membership.{SCAN}.{change.by}"
    return f"{change.target}.{change.attack.attribute}.{change.attack.access}"


def _dataset(audit: Audit) -> DatasetInput:
    dataset = Dataset(
        name=audit.cohort_name,
        digest=audit.cohort_digest[:_DATASET_DIGEST_LENGTH],
        source_type="flprivacy-cohort",
        source=f'{{"digest": "{audit.cohort_digest}"}}',
    )
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", "audit")])


def _log_child(
    client: MlflowClient, experiment: str, parent: str, audit: Audit, verdict: Verdict, digest: str, report: Path
) -> None:
    target = next(t for t in audit.targets if t.name == verdict.attack.target)
    tags = {
        "audit.kind": "attack",
        "audit.schema": _SCHEMA,
        "audit.target": target.name,
        "audit.attribute": verdict.attack.attribute,
        "audit.access": verdict.attack.access,
        "audit.question": verdict.question,
        "audit.topology": str(target.topology or "unknown"),
        "audit.target_digest": target.digest,
        "audit.cohort_digest": audit.cohort_digest,
        "audit.verdict": verdict.verdict,
        "audit.epsilon": "none" if target.epsilon is None else f"{target.epsilon:g}",
        "audit.privacy_unit": target.privacy.unit if target.privacy else "none",
        "audit.parent_digest": digest,
        "mlflow.note.content": verdict.reason,
    }
    params = {
        "audit.target": target.name,
        "audit.topology": str(target.topology or "unknown"),
        "audit.architecture": str(target.architecture or "unknown"),
        "audit.attribute": verdict.attack.attribute,
        "audit.access": verdict.attack.access,
        "audit.fraction": f"{verdict.attack.fraction:g}",
        "audit.best_baseline": verdict.baseline,
        "audit.tensors_matched": f"{target.tensors_matched} of {target.tensors_total}",
    }
    name = f"{target.name} x {verdict.attack.attribute} ({_access(verdict)})"
    with open_run(client, experiment, name, tags, parent=parent) as run:
        metrics = target.metrics() | _attack_metrics(audit, verdict)
        _log(client, run, metrics, params, _curve_rows(audit, verdict))
        with moving_artifacts(f"run {run}"):
            for figure in _figures(report, verdict):
                client.log_artifact(run, str(figure))


def _access(verdict: Verdict) -> str:
    """Return how a target was attacked, and whether that is judged on its own training patients."""
    return f"{verdict.attack.access}{'.members' if verdict.attack.scans == MEMBERS else ''}"


def _figures(report: Path, verdict: Verdict) -> list[Path]:
    """Return the drawn figures of one target and attack: its confusion matrix and the attack's curves.

    None where the attack is judged on members: they are of held-out scans.
    """
    if verdict.attack.scans == MEMBERS:
        return []
    attack = f"{verdict.attack.attribute}-{verdict.attack.access}"
    names = (f"confusion-{attack}-{verdict.attack.target}.png", f"curves-{attack}.png")
    return [path for name in names if (path := report / "figures" / name).is_file()]


def _same_attack(item: Curve | ExcessEstimate | MetricEstimate, verdict: Verdict) -> bool:
    return _BUT_FRACTION(item.attack) == _BUT_FRACTION(verdict.attack)


def _suffix(fraction: float, verdict: Verdict) -> str:
    return "" if fraction == verdict.attack.fraction else f".at_fraction_{fraction:g}"


def _attack_metrics(audit: Audit, verdict: Verdict) -> dict[str, float]:
    """Return the child's metrics; those of fractions other than the deciding one carry it in their name."""
    metrics: dict[str, float] = {}
    for m in audit.metrics:
        if _same_attack(m, verdict):
            stem = f"{m.attack.attribute}.{m.metric}{_suffix(m.attack.fraction, verdict)}"
            metrics |= {stem: m.value, f"{stem}.ci_low": m.ci_low, f"{stem}.ci_high": m.ci_high}
    for e in audit.excesses:
        if _same_attack(e, verdict) and e.best_baseline:
            stem = f"{e.attack.attribute}.excess_{metric_of(e.metric).key}{_suffix(e.attack.fraction, verdict)}"
            metrics |= {stem: e.value, f"{stem}.ci_low": e.ci_low, f"{stem}.ci_high": e.ci_high}
            metrics[f"{stem}.p_value"] = e.p_value
    return metrics


def _log(
    client: MlflowClient,
    run: str,
    metrics: Mapping[str, float],
    params: Mapping[str, str],
    curves: Sequence[Metric] = (),
) -> None:
    """Log in as few requests as there can be: a local database waits for the disk after each."""
    now = int(time.time() * 1000)
    rows = [*(Metric(key, float(value), now, 0) for key, value in sorted(metrics.items())), *curves]
    written = [Param(k, v[:_PARAM_LENGTH]) for k, v in params.items()]
    for start in range(0, max(len(rows), 1), _BATCH):
        client.log_batch(run, metrics=rows[start : start + _BATCH], params=written if not start else ())


def _curve_rows(audit: Audit, verdict: Verdict) -> list[Metric]:
    now = int(time.time() * 1000)
    rows: list[Metric] = []
    for curve in (c for c in audit.curves if _same_attack(c, verdict)):
        key = f"curve.{curve.attack.attribute}.{curve.metric}{_suffix(curve.attack.fraction, verdict)}"
        rows += [Metric(key, value, now, epoch) for epoch, value in zip(curve.epochs, curve.mean, strict=True)]
    return rows
