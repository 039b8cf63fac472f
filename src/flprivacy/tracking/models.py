"""Registered models and run artifacts that targets are taken from."""

from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion

from flprivacy.tracking.server import refusals, server_uri, without_password


def model_identity(uri: str, *, tracking_uri: str | None = None) -> str:
    """Return which registered version a ``models:/`` URI names now; empty for ``runs:/``, whose files may change.

    Raises:
        TrackingError: MLflow cannot be reached, or has no such model.
    """
    server = server_uri(tracking_uri)
    with refusals(server):
        found = _version(uri, MlflowClient(tracking_uri=server))
    if found is None:
        return ""
    return f"{without_password(server)} {found.name} {found.version} {found.source} {found.creation_timestamp}"


def pinned_version(uri: str, *, tracking_uri: str | None = None) -> str:
    """Return ``models:/name/version`` for a ``models:/name@alias``, so that what was found is what is audited.

    Raises:
        TrackingError: MLflow cannot be reached, or has no such model.
    """
    server = server_uri(tracking_uri)
    with refusals(server, about=uri):
        found = _version(uri, MlflowClient(tracking_uri=server))
    return uri if found is None else f"models:/{found.name}/{found.version}"


def _version(uri: str, client: MlflowClient) -> ModelVersion | None:
    name, _, alias = uri.removeprefix("models:/").partition("@")
    if not uri.startswith("models:/") or (not alias and "/" not in name):  # models:/m-<id> is of a run
        return None
    if alias:
        return client.get_model_version_by_alias(name, alias)
    name, _, version = name.rpartition("/")
    if not version.isdecimal():  # a stage or "latest", which may come to mean another
        return None
    return client.get_model_version(name, version)


def fetch_artifacts(uri: str, folder: Path, *, tracking_uri: str | None = None) -> Path:
    """Download what a ``models:/`` or ``runs:/`` URI names into a folder; return the file or folder.

    Raises:
        TrackingError: MLflow cannot be reached, or has nothing of that name.
    """
    server = server_uri(tracking_uri)
    folder.mkdir(parents=True, exist_ok=True)
    with refusals(server, about=uri):
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=server))
