"""Objects behind URIs: what is known of one, what a kind of storage must do, and how it fails."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flprivacy.core.errors import StorageError


class MissingObjectError(StorageError):
    """There is no such object or bucket."""


class ChangedObjectError(StorageError):
    """An object is no longer the one that was looked at before."""


class TransientError(StorageError):
    """A failure that may pass; whoever gets it tries again.

    Attributes:
        unreachable: no connection came about at all, as with a wrong endpoint.
    """

    def __init__(self, message: str, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable


@dataclass(frozen=True, kw_only=True)
class ObjectStat:
    """What is known of an object without reading it.

    Attributes:
        uri: where it is.
        size: in bytes.
        version: changes whenever the content does (ETag, generation, or a file's time and size); opaque.
        checksum: ``sha256:`` or ``md5:`` in hexadecimal or ``crc32c:`` in base64; empty where the storage tells none.
    """

    uri: str
    size: int
    version: str
    checksum: str = ""


class Backend(Protocol):
    """One kind of storage. Every call is one try; failures that may pass are :class:`TransientError`."""

    def stat(self, uri: str) -> ObjectStat:
        """Look at an object.

        Raises:
            MissingObjectError: there is none.
            StorageError: it may not be looked at.
        """

    def list(self, uri: str) -> Iterator[ObjectStat]:
        """Yield every object below a folder's URI, in order of name."""

    def read(self, stat: ObjectStat, start: int, stop: int) -> Generator[bytes, None, None]:
        """Yield bytes ``start`` to ``stop`` (excluded) in chunks of about a MiB; close the iterator to stop early.

        Raises:
            ChangedObjectError: the object is no longer the one of ``stat``.
            TransientError: the connection broke, or the bytes end early.
        """

    def upload(self, path: Path, uri: str, sha256: str) -> None:
        """Store a file as an object, whole or not at all, and have the storage check what it received."""

    def delete(self, uri: str) -> None:
        """Remove an object.

        Raises:
            MissingObjectError: there is none, where the storage tells.
        """
