"""Where a run keeps its things on this machine."""

import os
from pathlib import Path

from flprivacy.storage.store import Store
from flprivacy.storage.uris import local_path

HOME_VARIABLE = "FLPRIVACY_HOME"
STORE_VARIABLE = "FLPRIVACY_STORE"


def home() -> Path:
    """Return the folder of runs, reports and the default MLflow database: ``$FLPRIVACY_HOME`` or ``.flprivacy``."""
    return Path(os.environ.get(HOME_VARIABLE) or ".flprivacy").absolute()


def open_store(location: str = "") -> Store:
    """Return the store at ``location``, else at ``$FLPRIVACY_STORE``, else in the home folder.

    Raises:
        StorageError: ``location`` is a URI of a kind that is not supported.
    """
    location = location or os.environ.get(STORE_VARIABLE, "")
    return Store(local_path(location) if location else home() / "store")
