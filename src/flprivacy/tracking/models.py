"""Registered models and run artifacts that targets are taken from."""

from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion

from flprivacy.tracking.server import connected, moving_artifacts, waiting_for_server, without_password


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
