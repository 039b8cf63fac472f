"""Objects that are files on this machine."""

import os
import shutil
import stat as modes
from collections.abc import Generator, Iterator
from pathlib import Path

from flprivacy.core.errors import StorageError
from flprivacy.core.publish import publish_file
from flprivacy.storage.objects import ChangedObjectError, MissingObjectError, ObjectStat
from flprivacy.storage.uris import join, local_path

_CHUNK_BYTES = 1 << 20


class LocalBackend:
    """Plain paths and ``file://`` URIs."""

    def stat(self, uri: str) -> ObjectStat:
        """Look at a file."""
        path = local_path(uri)
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingObjectError(f"{uri}: no such file; check the path") from error
        except OSError as error:
            raise _refused(uri, error) from error
        if not modes.S_ISREG(found.st_mode):
            raise MissingObjectError(f"{uri}: is a folder or a device, not a file; give the path of a file")
        return _described(uri, found)

    def list(self, uri: str) -> Iterator[ObjectStat]:
        """Yield the files below a folder, in order of name; a missing folder holds none."""
        root = local_path(uri)
        names = []
        for folder, _, files in os.walk(root, onerror=lambda error: _walk_failed(uri, error)):
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
            with local_path(stat.uri).open("rb") as stream:
                self._check(stat, stream.fileno())
                stream.seek(start)
                left = stop - start
                while left:
                    chunk = stream.read(min(_CHUNK_BYTES, left))
                    if not chunk:
                        raise ChangedObjectError(f"{stat.uri}: ends early, at byte {stop - left}; run again")
                    left -= len(chunk)
                    yield chunk
                self._check(stat, stream.fileno())
        except FileNotFoundError as error:
            raise ChangedObjectError(f"{stat.uri}: was removed while it was being read; run again") from error
        except OSError as error:
            raise _refused(stat.uri, error) from error

    def upload(self, path: Path, uri: str, sha256: str) -> None:
        """Copy a file, atomically; what was read back from the disk's cache is what the digest was taken of."""
        del sha256
        try:
            with publish_file(local_path(uri)) as partial:
                shutil.copyfile(path, partial)
        except OSError as error:
            raise _refused(uri, error) from error

    def delete(self, uri: str) -> None:
        """Remove a file."""
        try:
            local_path(uri).unlink()
        except FileNotFoundError as error:
            raise MissingObjectError(f"{uri}: no such file; check the path") from error
        except OSError as error:
            raise _refused(uri, error) from error

    def _check(self, stat: ObjectStat, handle: int) -> None:
        if _described(stat.uri, os.fstat(handle)).version != stat.version:
            raise ChangedObjectError(f"{stat.uri}: changed while it was being read; run again once it is finished")


def _described(uri: str, found: os.stat_result) -> ObjectStat:
    version = f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"
    return ObjectStat(uri=uri, size=found.st_size, version=version)


def _refused(uri: str, error: OSError) -> StorageError:
    return StorageError(f"{uri}: {(error.strerror or 'cannot be read').lower()}; check its permissions and free space")


def _walk_failed(uri: str, error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise _refused(uri, error) from error
