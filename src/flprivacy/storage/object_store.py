"""One interface over files, S3 and Google Cloud Storage: stat, exists, list, ranged read, upload, delete."""

from collections.abc import Callable, Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from flprivacy.core.digests import digest_file
from flprivacy.core.errors import StorageError
from flprivacy.storage.config import StorageConfig
from flprivacy.storage.objects import Backend, ChangedObjectError, MissingObjectError, ObjectStat, TransientError
from flprivacy.storage.retry import Backoff, Contact, retrying
from flprivacy.storage.uris import FILE, S3, scheme_of

R = TypeVar("R")


class ObjectStore:
    """Objects of one kind of storage, with failures that may pass tried again. Safe to share between threads.

    Attributes:
        config: how objects are moved.
        contact: what its requests share.
    """

    def __init__(self, backend: Backend, config: StorageConfig, contact: Contact) -> None:
        """Use :func:`open_objects` instead."""
        self.config, self.contact = config, contact
        self._backend = backend

    def stat(self, uri: str) -> ObjectStat:
        """Look at an object without reading it.

        Raises:
            MissingObjectError: there is no such object or bucket.
            StorageError: it may not be looked at, or the server stays away.
        """
        return self._retrying(lambda: self._backend.stat(uri))

    def exists(self, uri: str) -> bool:
        """Say whether there is an object of exactly this name.

        Raises:
            StorageError: that cannot be told.
        """
        try:
            self.stat(uri)
        except MissingObjectError:
            return False
        return True

    def list(self, uri: str) -> list[ObjectStat]:
        """Return every object below a folder's URI, in order of name.

        Raises:
            StorageError: it may not be listed, or the server stays away.
        """
        return self._retrying(lambda: list(self._backend.list(uri)))

    def read(self, stat: ObjectStat, start: int, stop: int) -> Generator[bytes, None, None]:
        """Yield bytes ``start`` to ``stop`` (excluded) of the very object that was looked at, in chunks.

        A connection that breaks is taken up again at the byte where it broke. Nothing is verified here but the
        object's version and the number of bytes: :func:`~flprivacy.storage.transfer.fetch` compares digests.

        Raises:
            ChangedObjectError: the object changed since it was looked at.
            StorageError: it may not be read, or the server stays away.
        """
        backoff = Backoff(self.config.retry, self.contact)
        while start < stop:
            try:
                with closing(self.read_once(stat, start, stop)) as chunks:
                    for chunk in chunks:
                        start += len(chunk)
                        backoff.progressed()
                        yield chunk
            except TransientError as error:
                backoff.failed(error)

    def read_once(self, stat: ObjectStat, start: int, stop: int) -> Generator[bytes, None, None]:
        """Yield a range of bytes in one try; failures that may pass, and too few bytes, are TransientError."""
        with closing(self._backend.read(stat, start, stop)) as chunks:
            for chunk in chunks:
                self.contact.check()
                start += len(chunk)
                yield chunk
        if start != stop:
            raise TransientError(f"{stat.uri}: the bytes ended at {start} of {stop}")

    def read_bytes(self, stat: ObjectStat, *, most: int) -> bytes:
        """Return a whole object.

        Raises:
            StorageError: it is larger than ``most`` bytes, or cannot be read.
        """
        if stat.size > most:
            raise StorageError(f"{stat.uri}: has {stat.size} bytes, at most {most} can be right; check what it is")
        return b"".join(self.read(stat, 0, stat.size))

    def upload(self, path: Path, uri: str) -> ObjectStat:
        """Store a file as an object, whole or not at all; the server checks what it receives.

        Raises:
            ChangedObjectError: the file changed meanwhile.
            StorageError: it may not be written, or the server stays away.
        """
        before = file_state(path)
        sha256 = digest_file(path)
        self._retrying(lambda: self._backend.upload(path, uri, sha256))
        if file_state(path) != before:
            raise ChangedObjectError(f"{path}: changed while it was being sent; run again once it is finished")
        stored = self.stat(uri)
        if stored.size != before[0]:
            raise ChangedObjectError(
                f"{uri}: holds {stored.size} bytes of {before[0]}; another process writes there too"
            )
        return stored

    def delete(self, uri: str) -> None:
        """Remove an object; one that is not there is as good as removed.

        Raises:
            StorageError: it may not be removed, or the server stays away.
        """
        with suppress(MissingObjectError):
            self._retrying(lambda: self._backend.delete(uri))

    def _retrying(self, call: Callable[[], R]) -> R:
        return retrying(self.config.retry, self.contact, call)


def open_objects(uri: str, config: StorageConfig | None = None) -> ObjectStore:
    """Return the store behind a path or URI; nothing is sent yet, and no SDK of another kind of storage is imported.

    Args:
        uri: a path, or a URI that starts with ``file://``, ``s3://`` or ``gs://``.
        config: None: as the environment says.

    Raises:
        StorageError: a URI of another kind.
        ConfigError: the environment holds a wrong value.
    """
    scheme = scheme_of(uri)
    config = config or StorageConfig.from_environment()
    contact = Contact()
    return ObjectStore(_backend(scheme, config, contact), config, contact)


def _backend(scheme: str, config: StorageConfig, contact: Contact) -> Backend:
    if scheme == FILE:
        from flprivacy.storage.local import LocalBackend

        return LocalBackend()
    if scheme == S3:
        from flprivacy.storage.s3 import S3Backend

        return S3Backend(config, contact)
    from flprivacy.storage.gcs import GcsBackend

    return GcsBackend(config)


def file_state(path: Path) -> tuple[int, int]:
    """Return a file's size and the time of its last change.

    Raises:
        StorageError: it is missing or may not be looked at.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}); check its name and permissions") from error
    return found.st_size, found.st_mtime_ns
