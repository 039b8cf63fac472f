"""HDF5 files of strangers, read with nothing taken on trust.

Only plain groups, plain numeric tensors stored whole, and short attributes are admitted. Links, external and virtual
storage would let a file pull in other files; compression and sparse storage would let a small file fill the memory.
Whatever is refused, here and in what reads such files, raises TargetError.
"""

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from flprivacy.core.errors import TargetError
from flprivacy.models.mistaken import mistaken_for

MAX_TENSORS = 4096
MAX_DEPTH = 8
_MAX_MEMBERS = 1 << 16  # of all groups together: Keras writes some four groups a layer
_MAX_ATTRIBUTE_BYTES = 1 << 24
_MOST_TEXT = 500  # of a message: names in a file may have any length
# What h5py raises on damaged files; which one depends on where the damage lies.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)


class GuardedFile:
    """An open HDF5 file of which every part is checked before it is believed."""

    def __init__(self, file: h5py.File, path: Path, remedy: str, max_depth: int) -> None:
        """Use :func:`open_guarded`."""
        self.root, self._path, self._remedy = file, path, remedy
        self._max_depth, self._members = max_depth, 0

    def refuse(self, what: str) -> TargetError:
        """Return the error that says ``what`` is wrong with the file."""
        return TargetError(f"{self._path}: {what[:_MOST_TEXT]}; {self._remedy}")

    def tensors(self, folder: str = "", skip: Collection[str] = ()) -> dict[str, h5py.Dataset]:
        """Return every tensor below a group, but its members ``skip``, by its path from there, none of them read.

        Raises:
            TargetError: it holds something that no writer of weights writes.
        """
        group = self.group(folder) if folder else self.root
        found = dict(self._datasets(group, "", 0, skip))
        declared, held = sum(dataset.nbytes for dataset in found.values()), self._path.stat().st_size
        # One stretch of bytes that goes by many names would fill the memory many times.
        if len(found) > MAX_TENSORS or declared > held:
            raise self.refuse(f"{len(found)} tensors of {declared} bytes in a file of {held}")
        return found

    def group(self, path: str) -> h5py.Group:
        """Return a group by its path, through no link."""
        member: Any = self.root
        for part in path.split("/"):
            if not isinstance(member, h5py.Group) or part not in member:
                raise self.refuse(f"lacks the group {path!r}")
            self._check_link(member, part, path)
            member = member[part]
        if not isinstance(member, h5py.Group):
            raise self.refuse(f"{path!r} is not a group")
        return member

    def attribute(self, owner: h5py.Group, name: str) -> Any:
        """Return a short attribute, None where there is none."""
        if name not in owner.attrs:
            return None
        described = owner.attrs.get_id(name)
        shape, kind = described.shape, described.dtype
        text = kind.kind == "S" or h5py.check_string_dtype(kind) is not None
        if shape is None or not (text or kind.kind in "fiu"):
            raise self.refuse(f"attribute {name!r} is neither text nor numbers")
        if math.prod(shape) * max(kind.itemsize, 1) > _MAX_ATTRIBUTE_BYTES:
            raise self.refuse(f"attribute {name!r} is too large ({shape} of {kind.itemsize} bytes)")
        return owner.attrs[name]

    def text(self, owner: h5py.Group, name: str) -> str | None:
        """Return an attribute that is one text, None where there is none."""
        value = self.attribute(owner, name)
        return None if value is None else self._text(value, name)

    def texts(self, owner: h5py.Group, name: str) -> tuple[str, ...] | None:
        """Return an attribute that is a list of texts, None where there is none.

        Keras cuts long lists into ``name0``, ``name1`` ...
        """
        whole = self.attribute(owner, name)
        parts = [whole] if whole is not None else []
        while whole is None and len(parts) < MAX_TENSORS:
            part = self.attribute(owner, f"{name}{len(parts)}")
            if part is None:
                break
            parts.append(part)
        if not parts:
            return None
        return tuple(self._text(value, name) for part in parts for value in np.ravel(part))

    def _text(self, value: Any, name: str) -> str:
        if isinstance(value, bytes):
            value = value.decode("utf-8", errors="replace")
        if not isinstance(value, str):
            raise self.refuse(f"attribute {name!r} is not text")
        return str(value)

    def _datasets(
        self, group: h5py.Group, prefix: str, depth: int, skip: Collection[str] = ()
    ) -> Iterator[tuple[str, h5py.Dataset]]:
        if depth > self._max_depth or len(group) > MAX_TENSORS:
            raise self.refuse(f"groups nested too deep or too full at {prefix!r}")
        for name in group:
            full = f"{prefix}{name}"
            self._members += 1
            if self._members > _MAX_MEMBERS:
                raise self.refuse(f"groups nested too deep or too full at {full!r}")
            if not prefix and name in skip:
                continue
            self._check_link(group, name, full)
            member = group[name]
            if isinstance(member, h5py.Group):
                yield from self._datasets(member, f"{full}/", depth + 1)
            elif isinstance(member, h5py.Dataset):
                self._check_storage(member, full)
                yield full, member
            else:
                raise self.refuse(f"{full!r} is a {type(member).__name__}, not a tensor")

    def _check_link(self, group: h5py.Group, name: str, full: str) -> None:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise self.refuse(f"{full!r} is a link to somewhere else ({type(link).__name__})")

    def _check_storage(self, dataset: h5py.Dataset, name: str) -> None:
        layout = dataset.id.get_create_plist()
        plain = layout.get_layout() == h5py.h5d.CONTIGUOUS and not layout.get_external_count()
        numeric = dataset.dtype.kind in "fiu" and dataset.shape is not None
        # Numbers of odd make, of twenty bits, say, would have to be converted, by code that few files ever reached.
        if not plain or not numeric or dataset.id.get_storage_size() != dataset.nbytes or not _common(dataset):
            raise self.refuse(f"{name!r} is not a plain numeric tensor stored whole")


@contextmanager
def open_guarded(path: Path, *, remedy: str, max_depth: int = MAX_DEPTH) -> Iterator[GuardedFile]:
    """Open an HDF5 file for reading; ``remedy``, what to do about a damaged one, ends every message.

    Raises:
        TargetError: it is missing, no HDF5 file, or damaged; within the block, too.
    """
    _check_is_hdf5(path, remedy)
    try:
        # Unlocked, because published files never change and some shared file systems cannot lock.
        with h5py.File(path, "r", locking=False) as file:
            yield GuardedFile(file, path, remedy, max_depth)
    except _DAMAGE as error:
        raise TargetError(f"{path}: truncated or damaged HDF5 file ({one_line(error)}); {remedy}") from error


def _common(dataset: h5py.Dataset) -> bool:
    return bool(dataset.id.get_type() == h5py.h5t.py_create(dataset.dtype))


def one_line(error: Exception) -> str:
    """Return an error's text in a line of bearable length."""
    return printable(" ".join(str(error).split())[:_MOST_TEXT])


def printable(text: str) -> str:
    """Return a stranger's text without anything that a terminal would obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _check_is_hdf5(path: Path, remedy: str) -> None:
    if not path.is_file():
        raise TargetError(f"{path}: no such weights file; check the path, or publish the target again")
    try:
        with path.open("rb") as stream:
            stream.read(1)
    except OSError as error:
        raise TargetError(f"{path}: cannot be read ({error.strerror}); change its permissions") from error
    if not h5py.is_hdf5(path):
        raise TargetError(f"{path}: {mistaken_for(path) or f'not an HDF5 file; {remedy}'}")
