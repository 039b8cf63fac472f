"""Inventories: which content each file of a folder has, and folders brought back from content-addressed objects.

Content is kept under its SHA-256, below one URI; an inventory of it is a small JSON object beside it, stored last.
Whoever finds an inventory finds its content, and two processes that store the same folder store the same objects.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flprivacy.core.digests import digest_file, digest_json
from flprivacy.core.errors import StorageError
from flprivacy.core.publish import link_or_copy
from flprivacy.storage.backends.contract import MissingObjectError, ObjectStat
from flprivacy.storage.objects import ObjectStore
from flprivacy.storage.transfer import DamagedObjectError, fetch_files
from flprivacy.storage.uris import checked_name

FORMAT = 1
_MOST_BYTES = 64 << 20
_DIGITS = frozenset("0123456789abcdef")


class DamagedContentError(StorageError):
    """An inventory, or content that it names, is not what it says."""


@dataclass(frozen=True)
class Content:
    """What a file holds."""

    sha256: str  # of its bytes, in hexadecimal; the name of the object that keeps them
    size: int  # in bytes


Inventory = Mapping[str, Content]  # name of a file within its folder -> content


def content_of(path: Path) -> Content:
    """Return what a file holds, reading it in bounded memory."""
    return Content(digest_file(path), path.stat().st_size)


def take_inventory(folder: Path) -> dict[str, Content]:
    """Return what every file below a folder holds."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): content_of(path) for path in files}


def content_digest(files: Inventory) -> str:
    """Return the digest of names and contents of a folder's files."""
    return digest_json({name: content.sha256 for name, content in files.items()})


def to_json(files: Inventory, *, kind: str, key: str) -> dict[str, Any]:
    """Return the JSON form of an inventory."""
    listed = {name: [content.sha256, content.size] for name, content in files.items()}
    return {"format": FORMAT, "kind": kind, "key": key, "files": listed}


def read_inventory(store: ObjectStore, stat: ObjectStat, *, kind: str, key: str) -> dict[str, Content]:
    """Read what :func:`to_json` returned from an object; DamagedContentError if it is no inventory of this artifact."""
    data = store.read_whole(stat, most=_MOST_BYTES)
    try:
        found = json.loads(data)
        if (found["format"], found["kind"], found["key"]) != (FORMAT, kind, key):
            raise ValueError("is of another artifact or format")
        return {checked_name(name, stat.uri): _content(*entry) for name, entry in found["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, StorageError) as error:
        raise DamagedContentError(f"{stat.uri}: no inventory of this artifact ({error}); delete this object") from error


def _content(sha256: Any, size: Any) -> Content:
    if not isinstance(sha256, str) or len(sha256) != 64 or set(sha256) - _DIGITS:
        raise ValueError("a digest is not 64 hexadecimal digits")
    if not isinstance(size, int) or size < 0:
        raise ValueError("a size is not a number of bytes")
    return Content(sha256, size)


def lacking(files: Inventory, objects: Mapping[str, ObjectStat]) -> str:
    """Return the digest of some content that is not among the objects (by digest) in its full size; empty if all is."""
    for content in files.values():
        found = objects.get(content.sha256)
        if found is None or found.size != content.size:
            return content.sha256
    return ""


def bring(
    store: ObjectStore, files: Inventory, objects: Mapping[str, ObjectStat], folder: Path, *, scratch: Path, what: str
) -> None:
    """Put the files of an inventory into a folder, each verified by its digest.

    Args:
        store: where the content is.
        files: the inventory.
        objects: by digest.
        folder: made if it is not there; files of these names must not be.
        scratch: folder on the same disk that keeps what an interrupted call fetched; removed at the end.
        what: description of the progress.

    Raises:
        MissingObjectError: some content is not there.
        DamagedContentError: some content stays unlike its digest.
    """
    missing = lacking(files, objects)
    if missing:
        raise MissingObjectError(f"{what}: content {missing[:12]} is not there in full size; run again")
    named = {content.sha256: objects[content.sha256] for content in files.values()}
    wanted = {sha256: replace(stat, checksum=f"sha256:{sha256}") for sha256, stat in named.items()}
    try:
        fetch_files(store, wanted, scratch, description=what)
    except DamagedObjectError as error:
        shutil.rmtree(scratch)
        raise DamagedContentError(
            f"{error.uri}: its bytes are not those of its name, twice; delete this object"
        ) from error
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(scratch / content.sha256, folder / name)
    shutil.rmtree(scratch, ignore_errors=True)
