"""Objects behind paths, ``s3://`` and ``gs://`` URIs: one interface to look at, list, read, store and remove them."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from flprivacy.core.digests import digest_file
from flprivacy.core.errors import StorageError
from flprivacy.core.extras import naming_extras
from flprivacy.storage.backends.contract import Backend, ChangedObjectError, MissingObjectError, ObjectStat
from flprivacy.storage.config import StorageConfig
from flprivacy.storage.retry import Contact, Retries, TransientError
from flprivacy.storage.uris import FILE, S3, relative_name, scheme_of

T = TypeVar("T")
R = TypeVar("R")


class ObjectStore:
    """Objects of one kind of storage, with failures that may pass tried again. Safe to share between threads."""

    def __init__(self, backend: Backend, config: StorageConfig, contact: Contact) -> None:
        """Use :func:`open_objects` instead."""
        self.config, self.contact = config, contact
        self._backend = backend

    def stat(self, uri: str) -> ObjectStat:
        """Look at an object without reading it; MissingObjectError if there is no such object or bucket."""
        return self.contact.retrying(lambda: self._backend.stat(uri))

    def find(self, uri: str) -> ObjectStat | None:
        """Look at an object of exactly this name; None if there is none, StorageError where that cannot be told."""
        try:
            return self.stat(uri)
        except MissingObjectError:
            return None

    def contents(self, folder: str) -> dict[str, ObjectStat]:
        """Return every object below a folder's URI by its name within the folder, in order of name.

        StorageError as well for a name that would leave another folder.
        """
        found = self.contact.retrying(lambda: list(self._backend.list(folder)))
        return {relative_name(stat.uri, folder): stat for stat in found}

    def read(self, stat: ObjectStat, start: int, stop: int) -> bytes:
        """Return bytes ``start`` to ``stop`` (excluded) of the very object that was looked at.

        A connection that breaks is taken up again at the byte where it broke. Nothing is verified here but the
        object's version (ChangedObjectError) and the number of bytes: :func:`~flprivacy.storage.fetch.fetch` compares
        digests.
        """
        retries, data = Retries(self.contact), bytearray()
        while start + len(data) < stop:
            try:
                with closing(self.read_once(stat, start + len(data), stop)) as chunks:
                    for chunk in chunks:
                        data += chunk
                        retries.progressed()
            except TransientError as error:
                retries.failed(error)
        return bytes(data)

    def read_once(self, stat: ObjectStat, start: int, stop: int) -> Generator[bytes, None, None]:
        """Yield a range of bytes in one try; failures that may pass, and too few bytes, are TransientError."""
        with closing(self._backend.read(stat, start, stop)) as chunks:
            for chunk in chunks:
                self.contact.check()
                start += len(chunk)
                yield chunk
        if start != stop:
            raise TransientError(f"{stat.uri}: the bytes ended at {start} of {stop}")

    def read_whole(self, stat: ObjectStat, *, most: int) -> bytes:
        """Return a whole object; StorageError if it is larger than ``most`` bytes."""
        if stat.size > most:
            raise StorageError(f"{stat.uri}: has {stat.size} bytes, at most {most} can be right; check what it is")
        return self.read(stat, 0, stat.size)

    def upload(self, path: Path, uri: str) -> None:
        """Store a file as an object, whole or not at all; ChangedObjectError if the file changed meanwhile.

        The server checks what it receives.
        """
        before = file_state(path)
        sha256 = digest_file(path)
        self.contact.retrying(lambda: self._backend.upload(path, uri, sha256))
        if file_state(path) != before:
            raise ChangedObjectError(f"{path}: changed while it was being sent; run again once it is finished")
        stored = self.stat(uri).size
        if stored != before[0]:
            raise ChangedObjectError(f"{uri}: holds {stored} bytes of {before[0]}; another process writes there too")

    def delete(self, uri: str) -> None:
        """Remove an object; one that is not there is as good as removed."""
        with suppress(MissingObjectError):
            self.contact.retrying(lambda: self._backend.delete(uri))

    def in_parallel(self, call: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Return ``call`` of every item, in order; the first error stops the store's other requests and is raised."""
        with ThreadPoolExecutor(self.config.threads, thread_name_prefix="transfer") as pool:
            futures = [pool.submit(call, item) for item in items]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self.contact.stop.set()
                pool.shutdown(cancel_futures=True)
                self.contact.stop.clear()
                raise
        return [future.result() for future in futures]


def open_objects(uri: str, config: StorageConfig | None = None) -> ObjectStore:
    """Return the store behind a path or URI; nothing is sent yet, and no SDK of another kind of storage is imported.

    Args:
        uri: a path, or a URI that starts with ``file://``, ``s3://`` or ``gs://``.
        config: None: as the environment says.

    Raises:
        StorageError: a URI of another kind.
        ConfigError: the environment holds a wrong value.
        MissingExtraError: the SDK of this kind of storage is not installed; the message names the extra.
    """
    scheme = scheme_of(uri)
    config = config or StorageConfig.from_environment()
    contact = Contact(config.retry)
    backend: Backend
    with naming_extras():
        if scheme == FILE:
            from flprivacy.storage.backends.local import LocalBackend

            backend = LocalBackend()
        elif scheme == S3:
            from flprivacy.storage.backends.s3 import S3Backend

            backend = S3Backend(config, contact)
        else:
            from flprivacy.storage.backends.gcs import GcsBackend

            backend = GcsBackend(config)
    return ObjectStore(backend, config, contact)


def file_state(path: Path) -> tuple[int, int]:
    """Return a file's size and the time of its last change; StorageError if it may not be looked at."""
    try:
        found = path.stat()
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}); check its name and permissions") from error
    return found.st_size, found.st_mtime_ns
