"""File audits in MLflow. The only importer of mlflow.

Layout: experiment = cohort; parent run = one audit; child run = target x attack (attribute and access). Keys of
ours start with ``audit.``; no patient identifier is in any of it. If the environment names a run of the
backend's own MLflow plugin (``MLFLOW_RUN_ID``), the parent nests under it.
"""

import logging
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Before mlflow is imported: an unreachable server must not hold a step for minutes of retries.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from flprivacy.core.audit import Audit, Curve, ExcessEstimate, MetricEstimate, TargetSummary, Verdict
from flprivacy.core.errors import TrackingError
from flprivacy.core.progress import track

LOGGER = logging.getLogger(__name__)

URI_VARIABLE = "MLFLOW_TRACKING_URI"
PLUGIN_RUN_VARIABLE = "MLFLOW_RUN_ID"
_DIGEST_TAG = "audit.digest"
_OWNER_TAG = "audit.owner"
_BATCH = 900  # a batch holds at most 1,000 metrics
_DATASET_DIGEST_LENGTH = 36


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """Where an audit was filed. ``found`` is true if an earlier call had done so already."""

    run_id: str
    name: str
    experiment: str
    experiment_id: str
    tracking_uri: str
    found: bool


def model_identity(uri: str, *, tracking_uri: str | None = None) -> str:
    """Return which registered version a ``models:/`` URI names now; empty for ``runs:/``, whose files may change.

    Raises:
        TrackingError: MLflow cannot be reached, or has no such model.
    """
    server = _server(tracking_uri)
    name, _, alias = uri.removeprefix("models:/").partition("@")
    if not uri.startswith("models:/") or (not alias and "/" not in name):  # models:/m-<id> is of a run
        return ""
    with _refusals(server):
        client = MlflowClient(tracking_uri=server)
        if alias:
            found = client.get_model_version_by_alias(name, alias)
        else:
            name, _, version = name.rpartition("/")
            if not version.isdecimal():  # a stage or "latest", which may come to mean another
                return ""
            found = client.get_model_version(name, version)
        return f"{_without_password(server)} {found.name} {found.version} {found.source} {found.creation_timestamp}"


def fetch_artifacts(uri: str, folder: Path, *, tracking_uri: str | None = None) -> Path:
    """Download what a ``models:/`` or ``runs:/`` URI names into a folder; return the file or folder.

    Raises:
        TrackingError: MLflow cannot be reached, or has nothing of that name.
    """
    server = _server(tracking_uri)
    folder.mkdir(parents=True, exist_ok=True)
    with _refusals(server, about=uri):
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=server))


def _server(tracking_uri: str | None) -> str:
    uri = tracking_uri or os.environ.get(URI_VARIABLE, "")
    if not uri:
        raise TrackingError(f"no MLflow server is named; set {URI_VARIABLE}")
    return uri


def log_audit(
    audit: Audit, *, digest: str, report: Path, audit_file: Path, kfp_run: str = "", tracking_uri: str | None = None
) -> LoggedRun:
    """Log an audit once, keyed by its digest.

    Args:
        audit: what was found.
        digest: SHA-256 of the audit's file; a finished run with this digest is found, not logged again.
        report: folder with ``report.html`` and ``figures``, logged as artifacts.
        audit_file: ``audit.json``, logged as an artifact.
        kfp_run: id of the pipeline run, for a tag.
        tracking_uri: the MLflow server or database; ``$MLFLOW_TRACKING_URI`` if None.

    Raises:
        TrackingError: no server is named, it cannot be reached, or it refuses. No run is left RUNNING.
    """
    uri = _server(tracking_uri)
    with _refusals(uri):
        client = MlflowClient(tracking_uri=uri)
        experiment = _experiment(client, audit.cohort_name, uri)
        close_stale_runs(client, [experiment], kfp_run=kfp_run)
        name = f"{audit.name}-{digest[:8]}"
        earlier = client.search_runs(
            [experiment], f"tags.`{_DIGEST_TAG}` = '{digest}' and attributes.status = 'FINISHED'", max_results=1
        )
        if earlier:
            return _logged(earlier[0].info.run_id, audit, name, experiment, uri, found=True)
        tags = _parent_tags(audit, digest, kfp_run)
        with _run(client, experiment, name, tags, parent=os.environ.get(PLUGIN_RUN_VARIABLE)) as parent:
            _log_parent(client, parent, audit, report, audit_file)
            verdicts = sorted(audit.verdicts, key=lambda v: (v.target, v.attribute, v.access))
            for verdict in track(verdicts, "Logging to MLflow"):
                _log_child(client, experiment, parent, audit, verdict, digest, report)
        return _logged(parent, audit, name, experiment, uri, found=False)


def _logged(run_id: str, audit: Audit, name: str, experiment: str, uri: str, *, found: bool) -> LoggedRun:
    return LoggedRun(
        run_id=run_id,
        name=name,
        experiment=audit.cohort_name,
        experiment_id=experiment,
        tracking_uri=_without_password(uri),
        found=found,
    )


def _without_password(uri: str) -> str:
    scheme, mark, rest = uri.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else uri


@contextmanager
def _refusals(uri: str, about: str = "") -> Iterator[None]:
    shown = f"{_without_password(uri)}: {about}" if about else _without_password(uri)
    try:
        yield
    except MlflowException as error:
        text = str(error).replace(uri, _without_password(uri)).splitlines()[0][:300]
        raise TrackingError(f"{shown}: MLflow cannot be reached or refuses ({text})") from error
    except OSError as error:
        raise TrackingError(f"{shown}: MLflow cannot be reached ({type(error).__name__})") from error


def _experiment(client: MlflowClient, name: str, uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, artifact_location=_artifact_location(uri, name)))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _artifact_location(uri: str, name: str) -> str | None:
    """Return a folder beside a local database; a server knows its own place (None)."""
    path = uri.removeprefix("sqlite:///")
    return (Path(path).absolute().parent / "mlartifacts" / name).as_uri() if path != uri else None


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _owner_lives(owner: str) -> bool:
    host, _, pid = owner.rpartition(":")
    return host != socket.gethostname() or Path(f"/proc/{pid}").exists()


def close_stale_runs(client: MlflowClient, experiments: Sequence[str], *, kfp_run: str = "") -> int:
    """End our runs that a killed process left RUNNING, as KILLED; return how many.

    A run is stale if its owner was a process of this host that is gone, or an earlier attempt of the same
    pipeline run.
    """
    closed = 0
    open_runs = client.search_runs(list(experiments), "attributes.status = 'RUNNING'", max_results=1000)
    for run in open_runs:
        owner = run.data.tags.get(_OWNER_TAG, "")
        same_pipeline = bool(kfp_run) and run.data.tags.get("audit.kfp_run") == kfp_run
        if owner and owner != _owner() and (same_pipeline or not _owner_lives(owner)):
            client.set_terminated(run.info.run_id, status="KILLED")
            closed += 1
    return closed


def close_runs_of_dead_processes(*, wait_for: Iterable[int], seconds: float = 10.0) -> int:
    """Wait until the processes are gone, then end the runs that they left RUNNING; return how many.

    Raises:
        TrackingError: the server cannot be reached.
    """
    deadline = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}").exists() for pid in wait_for) and time.monotonic() < deadline:
        time.sleep(0.1)
    uri = os.environ.get(URI_VARIABLE, "")
    with _refusals(uri):
        client = MlflowClient(tracking_uri=uri)
        return close_stale_runs(client, [e.experiment_id for e in client.search_experiments()])


@contextmanager
def _run(
    client: MlflowClient, experiment: str, name: str, tags: Mapping[str, str], *, parent: str | None
) -> Iterator[str]:
    """Yield the id of a new run that ends FINISHED, or FAILED on any error, or KILLED on an interrupt."""
    nested = {"mlflow.parentRunId": parent} if parent else {}
    run = client.create_run(experiment, tags={**tags, **nested, _OWNER_TAG: _owner()}, run_name=name)
    status = "KILLED"
    try:
        yield run.info.run_id
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        client.set_terminated(run.info.run_id, status=status)


def _parent_tags(audit: Audit, digest: str, kfp_run: str) -> dict[str, str]:
    tags = {
        "audit.kind": "audit",
        _DIGEST_TAG: digest,
        "audit.cohort_digest": audit.cohort_digest,
        "audit.command": str(audit.provenance.get("command", "")),
        "audit.leaks": str(sum(v.verdict == "leak" for v in audit.verdicts)),
    }
    return tags | ({"audit.kfp_run": kfp_run} if kfp_run else {})


def _log_parent(client: MlflowClient, run: str, audit: Audit, report: Path, audit_file: Path) -> None:
    metrics: dict[str, float] = {}
    for target in audit.targets:
        metrics |= {f"{target.name}.{k}": v for k, v in _target_metrics(target).items()}
    for verdict in audit.verdicts:
        stem = f"{verdict.target}.{verdict.attribute}.{verdict.access}"
        metrics |= {
            f"{stem}.{verdict.metric}": verdict.value,
            f"{stem}.excess_{_short(verdict.metric)}": verdict.excess,
        }
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
    client.log_artifact(run, str(audit_file))
    client.log_artifacts(run, str(report))


def _dataset(audit: Audit) -> DatasetInput:
    dataset = Dataset(
        name=audit.cohort_name,
        digest=audit.cohort_digest[:_DATASET_DIGEST_LENGTH],
        source_type="flprivacy-cohort",
        source=f'{{"digest": "{audit.cohort_digest}"}}',
    )
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", "audit")])


def _short(metric: str) -> str:
    return {"f1_weighted": "f1", "mae_years": "years"}.get(metric, metric)


def _target_metrics(target: TargetSummary) -> dict[str, float]:
    metrics: dict[str, float] = {}
    if target.utility is not None:
        metrics |= {"utility.accuracy": target.utility.accuracy, "utility.f1_macro": target.utility.f1_macro}
        if target.utility.auc_ovr is not None:
            metrics["utility.auc_ovr"] = target.utility.auc_ovr
    if target.epsilon is not None:
        metrics["epsilon"] = target.epsilon
    if target.privacy is not None:
        metrics["delta"] = target.privacy.delta
    return metrics


def _log_child(
    client: MlflowClient, experiment: str, parent: str, audit: Audit, verdict: Verdict, digest: str, report: Path
) -> None:
    target = next(t for t in audit.targets if t.name == verdict.target)
    tags = {
        "audit.kind": "attack",
        "audit.target": target.name,
        "audit.attribute": verdict.attribute,
        "audit.access": verdict.access,
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
        "audit.attribute": verdict.attribute,
        "audit.access": verdict.access,
        "audit.fraction": f"{verdict.fraction:g}",
        "audit.best_baseline": verdict.baseline,
        "audit.tensors_matched": f"{target.tensors_matched} of {target.tensors_total}",
    }
    name = f"{target.name} x {verdict.attribute} ({verdict.access})"
    with _run(client, experiment, name, tags, parent=parent) as run:
        _log(client, run, _target_metrics(target) | _attack_metrics(audit, verdict), params)
        _log_curves(client, run, [c for c in audit.curves if _same_attack(c, verdict)], verdict.fraction)
        for figure in _figures(report, verdict):
            client.log_artifact(run, str(figure))


def _figures(report: Path, verdict: Verdict) -> list[Path]:
    """Return the drawn figures of one target and attack: its confusion matrix and the attack's curves."""
    attack = f"{verdict.attribute}-{verdict.access}"
    names = (f"confusion-{attack}-{verdict.target}.png", f"curves-{attack}.png")
    return [path for name in names if (path := report / "figures" / name).is_file()]


def _same_attack(item: Curve | ExcessEstimate | MetricEstimate, verdict: Verdict) -> bool:
    return (item.target, item.attribute, item.access) == (verdict.target, verdict.attribute, verdict.access)


def _suffix(fraction: float, verdict: Verdict) -> str:
    return "" if fraction == verdict.fraction else f".at_fraction_{fraction:g}"


def _attack_metrics(audit: Audit, verdict: Verdict) -> dict[str, float]:
    """Return the child's metrics; those of fractions other than the deciding one carry it in their name."""
    metrics: dict[str, float] = {}
    for m in audit.metrics:
        if _same_attack(m, verdict):
            stem = f"{m.attribute}.{m.metric}{_suffix(m.fraction, verdict)}"
            metrics |= {stem: m.value, f"{stem}.ci_low": m.ci_low, f"{stem}.ci_high": m.ci_high}
    for e in audit.excesses:
        if _same_attack(e, verdict) and e.best_baseline:
            stem = f"{e.attribute}.excess_{_short(e.metric)}{_suffix(e.fraction, verdict)}"
            metrics |= {stem: e.value, f"{stem}.ci_low": e.ci_low, f"{stem}.ci_high": e.ci_high}
            metrics[f"{stem}.p_value"] = e.p_value
    return metrics


def _log(client: MlflowClient, run: str, metrics: Mapping[str, float], params: Mapping[str, str]) -> None:
    now = int(time.time() * 1000)
    rows = [Metric(key, float(value), now, 0) for key, value in sorted(metrics.items())]
    client.log_batch(run, params=[Param(k, v[:6000]) for k, v in params.items()], tags=[RunTag("audit.schema", "1")])
    for start in range(0, len(rows), _BATCH):
        client.log_batch(run, metrics=rows[start : start + _BATCH])


def _log_curves(client: MlflowClient, run: str, curves: Sequence[Curve], fraction: float) -> None:
    now = int(time.time() * 1000)
    rows: list[Metric] = []
    for curve in curves:
        suffix = "" if curve.fraction == fraction else f".at_fraction_{curve.fraction:g}"
        key = f"curve.{curve.attribute}.{curve.metric}{suffix}"
        rows += [Metric(key, value, now, epoch) for epoch, value in zip(curve.epochs, curve.mean, strict=True)]
    for start in range(0, len(rows), _BATCH):
        client.log_batch(run, metrics=rows[start : start + _BATCH])
