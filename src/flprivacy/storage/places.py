"""Where a run keeps its things: on this machine, and in an object store where it is told to."""

import os
import tempfile
from pathlib import Path

from flprivacy.core.errors import StorageError
from flprivacy.storage.artifact_store import Store
from flprivacy.storage.checkpoint_mirror import interval_from_environment
from flprivacy.storage.uris import is_remote, join, local_path

HOME_VARIABLE = "FLPRIVACY_HOME"
STORE_VARIABLE = "FLPRIVACY_STORE"
CACHE_VARIABLE = "FLPRIVACY_CACHE"  # a folder that the pods of a node, or all of them, share


def home() -> Path:
    """Return the folder of runs, reports and the default MLflow database: ``$FLPRIVACY_HOME`` or ``.flprivacy``."""
    return Path(os.environ.get(HOME_VARIABLE) or ".flprivacy").absolute()


def open_store(location: str = "") -> Store:
    """Return the store at ``location``, else at ``$FLPRIVACY_STORE``, else in the home folder.

    A store behind ``s3://`` or ``gs://`` has its folder in the cache (:func:`cache`).

    Raises:
        StorageError: a URI of a kind that is not supported, or without a bucket; or its folder is another user's.
        ConfigError: ``$FLPRIVACY_STORE_MIRROR_SECONDS`` is no number of seconds.
    """
    location = store_location(location)
    if location and is_remote(location):
        return Store(cache(), location, interval_from_environment())
    return Store(local_path(location) if location else home() / "store")


def store_location(location: str = "") -> str:
    """Return where the store at ``location`` is, else what ``$FLPRIVACY_STORE`` says; empty for the home folder's."""
    return location or os.environ.get(STORE_VARIABLE, "")


def folder_in_store(name: str, location: str = "") -> str:
    """Return where a folder of the store at ``location`` is: a URI, or a path; see :func:`open_store`."""
    found = store_location(location) or str(home() / "store")
    return join(found if is_remote(found) else str(local_path(found)), name)


def is_shared(location: str = "") -> bool:
    """Say whether other machines see the store at ``location``, else at ``$FLPRIVACY_STORE``, by the same name.

    That is a URI: of an object store, or ``file://`` for a folder that is mounted everywhere.
    """
    location = store_location(location)
    return bool(location) and (is_remote(location) or "://" in location)


def cache() -> Path:
    """Return the folder on this machine for what lies elsewhere, of which nothing is lost if it is removed.

    It is ``$FLPRIVACY_CACHE``; else in the home folder, or in the system's folder of temporary files where nothing can
    be written there, as in a container.
    """
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given).absolute()
    folder = home()
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if os.environ.get(HOME_VARIABLE) or os.access(nearest, os.W_OK | os.X_OK):
        return folder / "store"
    shared = Path(tempfile.gettempdir()) / f"flprivacy-{os.getuid()}"
    shared.mkdir(mode=0o700, exist_ok=True)
    if shared.stat().st_uid != os.getuid():
        raise StorageError(f"{shared}: belongs to another user; set {HOME_VARIABLE} to a folder of your own")
    return shared / "store"
