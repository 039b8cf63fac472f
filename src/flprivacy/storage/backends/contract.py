"""What every kind of storage offers: a look at an object, its bytes, an upload; and the errors that tell of it."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flprivacy.core.errors import StorageError
from flprivacy.storage.uris import split_bucket

SHA256_METADATA = "flprivacy-sha256"  # user metadata of what we upload


class MissingObjectError(StorageError):
    """There is no such object or bucket."""


class ChangedObjectError(StorageError):
    """An object is no longer the one that was looked at before."""


@dataclass(frozen=True, kw_only=True)
class ObjectStat:
    """What is known of an object without reading it."""

    uri: str  # where it is
    size: int  # in bytes
    version: str  # changes whenever the content does (ETag, generation, or a file's time and size); opaque
    checksum: str = ""  # as text (:mod:`~flprivacy.storage.checksums`); empty where the storage tells none


class Backend(Protocol):
    """One kind of storage. Every call is one try; failures that may pass are :class:`TransientError`."""

    def stat(self, uri: str) -> ObjectStat:
        """Look at an object; MissingObjectError if there is none."""

    def list(self, uri: str) -> Iterator[ObjectStat]:
        """Yield every object below a folder's URI, in order of name; markers of empty folders are left out."""

    def read(self, stat: ObjectStat, start: int, stop: int) -> Generator[bytes, None, None]:
        """Yield bytes ``start`` to ``stop`` (excluded) in chunks of about a MiB; close the iterator to stop early.

        ChangedObjectError if the object is no longer that of ``stat``, TransientError if the bytes end early.
        """

    def upload(self, path: Path, uri: str, sha256: str) -> None:
        """Store a file as an object, whole or not at all, and have the storage check what it received."""

    def delete(self, uri: str) -> None:
        """Remove an object; MissingObjectError if there is none, where the storage tells."""


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Return where a single object is; MissingObjectError if the URI is a folder's."""
    bucket, key = split_bucket(uri)
    if not key or key.endswith("/"):
        raise MissingObjectError(f"{uri}: names a folder, not an object; give the whole name")
    return bucket, key


def changed_while_read(uri: str) -> ChangedObjectError:
    """Return the error about an object that was replaced between a look at it and the end of a read."""
    return ChangedObjectError(f"{uri}: changed while it was being read; run again once it is finished")
