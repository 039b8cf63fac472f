"""What a pod of the steps can reach: its store, written and read back, and MLflow with the steps' user."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from flprivacy.cluster.fit.looked_at import FITS, MEND, Line
from flprivacy.core.errors import FlprivacyError
from flprivacy.storage.objects import open_objects
from flprivacy.storage.places import STORE_VARIABLE
from flprivacy.storage.uris import is_remote, join
from flprivacy.tracking.server import all_experiments, connected, without_password

_WORDS = b"flprivacy cluster check"


def within() -> Iterator[Line]:
    """Yield a line for the store and one for MLflow, as the environment names them."""
    yield _store(os.environ.get(STORE_VARIABLE, ""))
    yield _mlflow()


def _store(location: str) -> Line:
    """Write an object of a name of its own, read it back, and delete it."""
    if not location or not is_remote(location):
        return Line("store", MEND, f"{STORE_VARIABLE} is {location!r} in the pod; set it in the overlay's settings")
    uri = join(location, f"checks/{uuid4().hex}")
    try:
        objects = open_objects(uri)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "object"
            path.write_bytes(_WORDS)
            objects.upload(path, uri)
        found = objects.read_whole(objects.stat(uri), most=len(_WORDS))
        objects.delete(uri)
    except FlprivacyError as error:
        return Line("store", MEND, str(error))
    if found != _WORDS:
        return Line("store", MEND, f"{uri}: gave back other bytes than were written; check the store")
    return Line("store", FITS, f"{location}: written, read back, deleted")


def _mlflow() -> Line:
    try:
        with connected() as (client, uri):
            return Line("MLflow", FITS, f"{without_password(uri)}: {len(all_experiments(client))} experiments to see")
    except FlprivacyError as error:
        remedy = "check Secret flprivacy-mlflow, mlflow-hosts and the network policies"
        return Line("MLflow", MEND, f"{error}; {remedy}")
