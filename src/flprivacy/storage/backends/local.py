"""Objects that are files on this machine."""

import os
import shutil
import stat as modes
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from flprivacy.core.errors import StorageError
from flprivacy.core.publish import publish_file
from flprivacy.storage.backends.contract import ChangedObjectError, MissingObjectError, ObjectStat, changed_while_read
from flprivacy.storage.uris import join, local_path

_CHUNK_BYTES = 1 << 20


class LocalBackend:
    """Plain paths and ``file://`` URIs."""

    def stat(self, uri: str) -> ObjectStat:
        """Look at a file."""
        with _one_line(uri, FileNotFoundError, NotADirectoryError):
            found = local_path(uri).stat()
        if not modes.S_ISREG(found.st_mode):
            raise MissingObjectError(f"{uri}: is a folder or a device, not a file; give the path of a file")
        return _described(uri, found)

    def list(self, uri: str) -> Iterator[ObjectStat]:
        """Yield the files below a folder, in order of name; a missing folder holds none."""
        root, names = local_path(uri), []
        with _one_line(uri):
            for folder, _, files in os.walk(root, onerror=_refused_to_walk):
                names += [(Path(folder) / name).relative_to(root).as_posix() for name in files]
        for name in sorted(names):
            try:
                found = self.stat(join(uri, name))
            except MissingObjectError:  # removed since
                continue
            yield found

    def read(self, stat: ObjectStat, start: int, stop: int) -> Generator[bytes, None, None]:
        """Yield a file's bytes while it stays the one that was looked at."""
        try:
            with _one_line(stat.uri, FileNotFoundError), local_path(stat.uri).open("rb") as stream:
                _check_unchanged(stat, stream.fileno())
                stream.seek(start)
                left = stop - start
                while left:
                    chunk = stream.read(min(_CHUNK_BYTES, left))
                    if not chunk:
                        raise ChangedObjectError(f"{stat.uri}: ends early, at byte {stop - left}; run again")
                    left -= len(chunk)
                    yield chunk
                _check_unchanged(stat, stream.fileno())
        except MissingObjectError as error:
            raise ChangedObjectError(f"{stat.uri}: was removed while it was being read; run again") from error

    def upload(self, path: Path, uri: str, sha256: str) -> None:
        """Copy a file, atomically; what was read back from the disk's cache is what the digest was taken of."""
        del sha256
        with _one_line(uri), publish_file(local_path(uri)) as partial:
            shutil.copyfile(path, partial)

    def delete(self, uri: str) -> None:
        """Remove a file."""
        with _one_line(uri, FileNotFoundError):
            local_path(uri).unlink()


def _described(uri: str, found: os.stat_result) -> ObjectStat:
    version = f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"
    return ObjectStat(uri=uri, size=found.st_size, version=version)


def _check_unchanged(stat: ObjectStat, handle: int) -> None:
    if _described(stat.uri, os.fstat(handle)).version != stat.version:
        raise changed_while_read(stat.uri)


@contextmanager
def _one_line(uri: str, *missing: type[OSError]) -> Iterator[None]:
    """Turn the system's errors into ours; those of the types ``missing`` mean that there is no such file."""
    try:
        yield
    except missing as error:
        raise MissingObjectError(f"{uri}: no such file; check the path") from error
    except OSError as error:
        what = (error.strerror or "cannot be read").lower()
        raise StorageError(f"{uri}: {what}; check its permissions and free space") from error


def _refused_to_walk(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
