"""What is read back from MLflow: earlier audits, and the models and artifacts that targets are taken from."""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from flprivacy.core.artifacts import AUDIT_FILE, CHECK_FILE, GENERATOR_AUDIT_FILE, SCORES_FOLDER
from flprivacy.core.change import PreviousAudit
from flprivacy.core.digests import digest_file
from flprivacy.core.errors import AuditError, TrackingError
from flprivacy.tracking.attempts import DIGEST_TAG
from flprivacy.tracking.audits import KEY_TAG, TARGET_TAG
from flprivacy.tracking.filing import KFP_RUN_TAG, MORE_KFP_RUNS_TAG
from flprivacy.tracking.server import (
    all_experiments,
    connected,
    moving_artifacts,
    table_of_runs,
    waiting_for_server,
    without_password,
)


def same_audit(target: str, key: str) -> PreviousAudit | None:
    """Return the latest audit of a target of that name with the same key, the digest of all that it depends on."""
    return _latest(target, f"tags.`{KEY_TAG}.{target}` = '{key}'")


def last_audit(target: str, *, cohort_name: str, cohort_digest: str) -> PreviousAudit | None:
    """Return the latest audit of a target of that name, on the same cohort if there is one, else on one of its name."""
    any_digest = f"tags.`{TARGET_TAG}.{target}` != ''"
    name = cohort_name.replace("'", "''")
    same = _latest(target, f"{any_digest} and tags.`audit.cohort_digest` = '{cohort_digest}'")
    return same or _latest(target, f"{any_digest} and tags.`audit.cohort` = '{name}'")


@waiting_for_server
def _latest(target: str, query: str) -> PreviousAudit | None:
    with connected() as (client, _):
        found = client.search_runs(
            all_experiments(client),
            f"tags.`audit.kind` = 'audit' and attributes.status = 'FINISHED' and {query}",
            order_by=["attributes.end_time DESC"],
            max_results=1,
        )
    return _filed(found[0], target) if found else None


def _filed(run: Run, target: str) -> PreviousAudit:
    ended = run.info.end_time or run.info.start_time
    return PreviousAudit(
        run_id=run.info.run_id,
        digest=run.data.tags.get(DIGEST_TAG, ""),
        cohort_digest=run.data.tags.get("audit.cohort_digest", ""),
        target_digest=run.data.tags.get(f"{TARGET_TAG}.{target}", ""),
        ended=datetime.fromtimestamp(ended / 1000.0, tz=UTC).isoformat(timespec="seconds"),
    )


@waiting_for_server
def fetch_audit(run_id: str, digest: str, folder: Path) -> Path:
    """Bring ``audit.json`` and ``scores`` of a filed audit into a folder, and return it.

    AuditError if its ``audit.json`` is no longer there, or has not this digest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with connected(about=f"run {run_id}") as (client, server), moving_artifacts(f"run {run_id}"):
        there = {artifact.path for artifact in client.list_artifacts(run_id)}
        for name in (AUDIT_FILE, SCORES_FOLDER):
            if name in there:
                download_artifacts(run_id=run_id, artifact_path=name, dst_path=str(folder), tracking_uri=server)
    if not (folder / AUDIT_FILE).is_file() or digest_file(folder / AUDIT_FILE) != digest:
        raise AuditError(f"run {run_id}: its {AUDIT_FILE} is missing or not the one that was filed; delete the run")
    return folder


@waiting_for_server
def check_filed(run_id: str, folder: Path) -> None:
    """Read a result back from its run: its record and score tables must be those of the folder, byte for byte.

    TrackingError if they are not, or cannot be read.
    """
    names = [name for name in (AUDIT_FILE, CHECK_FILE, GENERATOR_AUDIT_FILE, SCORES_FOLDER) if (folder / name).exists()]
    with tempfile.TemporaryDirectory() as place:
        with connected(about=f"run {run_id}") as (_, server), moving_artifacts(f"run {run_id}"):
            for name in names:
                download_artifacts(run_id=run_id, artifact_path=name, dst_path=place, tracking_uri=server)
        for file in (file for name in names for file in (folder / name, *(folder / name).rglob("*")) if file.is_file()):
            there = Path(place) / file.relative_to(folder)
            if not there.is_file() or digest_file(there) != digest_file(file):
                name = file.relative_to(folder).as_posix()
                raise TrackingError(
                    f"run {run_id}: its {name} is missing or not the one that was filed; delete the run and file again"
                )


@dataclass(frozen=True, kw_only=True)
class FiledRun:
    """The MLflow run of an audit."""

    run_id: str  # of the MLflow run
    digest: str  # of its ``audit.json``
    page: str  # address of its page
    table: str  # address of the table of its experiment's runs


def filed_by(kfp_run: str) -> list[FiledRun]:
    """Return each audit that a pipeline run came to, latest first, by the run's id: those that it filed come first.

    What it found may have been filed by an earlier run already.
    """
    with connected() as (client, server):
        found = [
            run
            for of_run in (f"`{KFP_RUN_TAG}` = '{kfp_run}'", f"`{MORE_KFP_RUNS_TAG}` LIKE '%{kfp_run}%'")
            for run in client.search_runs(
                all_experiments(client),
                f"tags.{of_run} and tags.`audit.kind` = 'audit'",
                order_by=["attributes.start_time DESC"],
            )
        ]
    place = without_password(server).rstrip("/")
    return [
        FiledRun(
            run_id=run.info.run_id,
            digest=run.data.tags.get(DIGEST_TAG, ""),
            page=f"{place}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}",
            table=table_of_runs(server, run.info.experiment_id),
        )
        for run in found
    ]


@waiting_for_server
def model_identity(uri: str) -> str:
    """Return the registered version that a ``models:/`` URI means now; empty for ``runs:/``, whose files may change."""
    with connected() as (client, server):
        found = _version(uri, client)
    if found is None:
        return ""
    return f"{without_password(server)} {found.name} {found.version} {found.source} {found.creation_timestamp}"


@waiting_for_server
def pinned_version(uri: str) -> str:
    """Return ``models:/name/version`` for ``models:/name@alias``, so that what was found is what is audited."""
    with connected(about=uri) as (client, _):
        found = _version(uri, client)
    return uri if found is None else f"models:/{found.name}/{found.version}"


def _version(uri: str, client: MlflowClient) -> ModelVersion | None:
    name, _, alias = uri.removeprefix("models:/").partition("@")
    if not uri.startswith("models:/") or (not alias and "/" not in name):  # models:/m-<id> belongs to a run
        return None
    if alias:
        return client.get_model_version_by_alias(name, alias)
    name, _, version = name.rpartition("/")
    if not version.isdecimal():  # a stage or "latest", which may later refer to another
        return None
    return client.get_model_version(name, version)


@waiting_for_server
def fetch_artifacts(uri: str, folder: Path) -> Path:
    """Download what a ``models:/`` or ``runs:/`` URI refers to into a folder; return the file or folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with connected(about=uri) as (_, server), moving_artifacts(uri):
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=server))
