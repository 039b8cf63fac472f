"""Parameters too large for a pipeline run: kept in the store, named by URI and SHA-256, and read by the steps.

All parameters of a run together have at most 10,000 bytes. A JSON parameter that is larger than its share travels as
``{"@": "<URI>#<SHA-256>"}``: an object in the store whose name holds its digest, so that it never changes.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flprivacy.core.digests import digest_bytes
from flprivacy.core.errors import ConfigError
from flprivacy.storage.objects import open_objects
from flprivacy.storage.uris import join

REFERENCE = "@"
MOST_BYTES = 1 << 20
_DIGEST_LETTERS = 64


def resolve_mapping(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the JSON parameter of that name, read from the store if it refers to an object there.

    ConfigError if the reference or what it refers to is wrong, or changed since it was written.
    """
    if set(value) != {REFERENCE}:
        return dict(value)
    uri, _, digest = str(value[REFERENCE]).rpartition("#")
    if not uri or len(digest) != _DIGEST_LETTERS:
        raise ConfigError(f"{name}: {value[REFERENCE]!r} is no reference; write it as <URI>#<SHA-256>")
    try:
        found = json.loads(read_object(uri, digest))
    except ValueError as error:
        raise ConfigError(f"{uri}: not JSON; start the run again") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{uri}: not a JSON object; start the run again")
    return found


def store_object(store: str, data: bytes, name: str) -> tuple[str, str]:
    """Keep bytes in the store under their digest, once; return their URI and SHA-256.

    ``name`` is the last part of the object's name, such as ``targets.json``. ConfigError for more than a MiB.
    """
    digest = digest_bytes(data)
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{name}: has {len(data)} bytes, at most {MOST_BYTES} can be right; check what it is")
    uri = join(join(store, "configs"), f"{digest}/{name}")
    objects = open_objects(uri)
    if not objects.find(uri):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "object"
            path.write_bytes(data)
            objects.upload(path, uri)
    return uri, digest


def digest_in(uri: str) -> str:
    """Return the SHA-256 that the name of an object of :func:`store_object` holds; empty for any other name."""
    digest = uri.rpartition("/")[0].rpartition("/")[2]
    return digest if len(digest) == _DIGEST_LETTERS and not set(digest) - set("0123456789abcdef") else ""


def read_object(uri: str, digest: str = "") -> bytes:
    """Return the bytes of an object; ConfigError if it is another than that of the SHA-256 (empty: any)."""
    objects = open_objects(uri)
    data = objects.read_whole(objects.stat(uri), most=MOST_BYTES)
    if digest and digest_bytes(data) != digest:
        raise ConfigError(f"{uri}: changed since the run was started (its digest differs); start the run again")
    return data
