"""Volume shards: ``.npy`` files of uint8 (scan, depth, height, width) in C order, mapped into memory.

The header of a shard is parsed here rather than by NumPy: it is bounded, read as text that must look like a plain
array's, and believed only when the file has exactly the size that it promises. Nothing is ever unpickled.
"""

import io
import re
import stat
import struct
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from flprivacy.core.errors import CohortError, StorageError

_MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 4096
HEAD_BYTES = _MAX_HEADER_BYTES + 12  # enough for any header that is believed
_FIELDS = re.compile(
    r"\{\s*'descr':\s*'(?P<descr>[^']{1,40})',\s*'fortran_order':\s*(?P<fortran>True|False),"
    r"\s*'shape':\s*\((?P<shape>[\d, ]{0,100})\),?\s*\}\s*"
)
_UINT8 = ("|u1", "<u1", ">u1", "u1")
_REMEDY = "restore the file from a copy or write the cohort again"

Volume = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A checked shard."""

    path: Path
    scans: int
    shape: tuple[int, int, int]  # (depth, height, width) of each, in voxels
    offset: int  # bytes before the first volume

    def map(self) -> Volume:
        """Return the shard as a read-only memory map, (scan, depth, height, width)."""
        try:
            mapped = np.memmap(self.path, dtype=np.uint8, mode="r", offset=self.offset, shape=(self.scans, *self.shape))
        except (OSError, ValueError) as error:
            raise CohortError(f"{self.path}: cannot be mapped into memory ({error}); {_REMEDY}") from error
        return np.asarray(mapped)


def open_shard(folder: Path, name: str, shape: tuple[int, int, int]) -> Shard:
    """Check a shard of volumes (depth, height, width) by its header and size, without reading volumes.

    Raises:
        CohortError: the path leaves the folder, or the file is missing, truncated, or of another type or shape.
    """
    path = _inside(folder, name)
    head, size = _read_head(path)
    scans, offset = shard_layout(head, size, shape, str(path))
    return Shard(path=path, scans=scans, shape=shape, offset=offset)


def shard_layout(head: bytes, size: int, shape: tuple[int, int, int], where: str) -> tuple[int, int]:
    """Return how many volumes (depth, height, width) a shard holds, and the bytes before the first.

    ``head`` holds the first HEAD_BYTES of its ``size`` bytes, or all of them where it is smaller.

    Raises:
        CohortError: it is truncated, or of another type or shape.
    """
    text, offset = _header(head, where)
    fields = _FIELDS.fullmatch(text)
    if fields is None:
        raise CohortError(f"{where}: not a plain array of bytes by its .npy header; {_REMEDY}")
    if fields["descr"] not in _UINT8 or fields["fortran"] == "True":
        order = "Fortran" if fields["fortran"] == "True" else "C"
        raise CohortError(f"{where}: holds type {fields['descr']!r} in {order} order, not uint8 in C order; {_REMEDY}")
    found = tuple(int(edge) for edge in fields["shape"].replace(",", " ").split())
    if len(found) != 4 or found[1:] != shape:
        raise CohortError(
            f"{where}: has shape {found}, cohort.json says (scans, {', '.join(map(str, shape))}); {_REMEDY}"
        )
    expected = offset + found[0] * shape[0] * shape[1] * shape[2]
    if size != expected:
        state = "truncated" if size < expected else "too long"
        raise CohortError(f"{where}: {state}, {size} bytes where its header promises {expected}; {_REMEDY}")
    return found[0], offset


def shard_header(scans: int, shape: tuple[int, int, int]) -> bytes:
    """Return the first bytes of a shard that holds ``scans`` volumes of ``shape``; the volumes follow."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (scans, *shape)})
    return stream.getvalue()


def start_shard(path: Path, scans: int, shape: tuple[int, int, int]) -> None:
    """Write the header of a new shard that will hold ``scans`` volumes of ``shape``.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as stream:
            stream.write(shard_header(scans, shape))
    except OSError as error:
        raise _unwritable(path, error) from error


def append_volume(path: Path, volume: Volume) -> None:
    """Append one C-ordered volume to a shard, opened anew each time: a cohort may have more sites than handles.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        with path.open("ab") as stream:
            stream.write(volume.data)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path}: cannot be written ({error.strerror}); free space or choose another folder")


def check_shard_name(name: str, where: str) -> None:
    """Refuse a shard's name that leads out of the cohort's folder.

    Raises:
        CohortError: the name is absolute, climbs up or is no plain path.
    """
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts or set(name) & {"\\", ":", "\0"}:
        raise CohortError(
            f"{where}: the manifest's shard {name!r} leaves the cohort's folder; "
            "shards are relative paths inside it, such as 'volumes/site.npy'"
        )


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a shard, or refuse one that leaves the folder by name or by symbolic link."""
    check_shard_name(name, str(folder))
    path = folder / PurePosixPath(name)
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a name too long, or a loop of links
        inside = False
    if not inside:
        raise CohortError(
            f"{folder}: the manifest's shard {name!r} leaves the cohort's folder by a link; "
            "put the file itself inside the folder"
        )
    return path


def _read_head(path: Path) -> tuple[bytes, int]:
    """Return the first bytes of a shard, enough for any header that is believed, and the file's size."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise CohortError(f"{path}: not a regular file; {_REMEDY}")
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES), status.st_size
    except FileNotFoundError as error:
        raise CohortError(f"{path}: volume file not found; {_REMEDY}") from error
    except OSError as error:
        raise CohortError(f"{path}: cannot be read ({error.strerror}); check its name and permissions") from error


def _header(head: bytes, where: str) -> tuple[str, int]:
    """Return the header's text and the offset of the data."""
    if len(head) < 10 or not head.startswith(_MAGIC):
        raise CohortError(f"{where}: not an .npy file or truncated within its header; {_REMEDY}")
    start, form = (10, "<H") if head[6] == 1 else (12, "<I")
    if head[6] not in (1, 2, 3) or len(head) < start:
        raise CohortError(f"{where}: .npy version {head[6]} or header unreadable; {_REMEDY}")
    (length,) = struct.unpack(form, head[8:start])
    if length > _MAX_HEADER_BYTES or len(head) < start + length:
        raise CohortError(f"{where}: .npy header claims {length} bytes; truncated or not a plain array; {_REMEDY}")
    return head[start : start + length].decode("latin-1"), start + length
