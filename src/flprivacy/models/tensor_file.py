"""Tensors by path in one HDF5 file, written whole and read with nothing taken on trust.

.. code-block:: text

    attribute flprivacy_weights     JSON: format, architecture, shape, n_classes
    Conv3d_1a_7x7_conv/kernel       one contiguous, uncompressed dataset a tensor, named by its path
    Conv3d_1a_7x7_bn/beta
    ...

A reader admits only what the writer writes. Links, external and virtual storage would let a file pull in other files;
compression and sparse storage would let a small file fill the memory.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from flprivacy.core.errors import ConfigError, StorageError, TargetError
from flprivacy.core.parsing import from_mapping
from flprivacy.core.publish import publish_file

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]

FORMAT = 1
_HEADER = "flprivacy_weights"
_MAX_HEADER_BYTES = 4096
_MAX_TENSORS = 4096
_MAX_DEPTH = 8
# What h5py raises on damaged files; which one depends on where the damage lies.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)
_REMEDY = "copy it again from where it came, or write it again with save_weights"


@dataclass(frozen=True, kw_only=True)
class TensorHeader:
    """Which network the tensors belong to.

    Attributes:
        architecture: name in the model registry.
        shape: (depth, height, width) that the network takes, in voxels.
        n_classes: disease classes of its head.
        format: version of the file's layout.
    """

    architecture: str
    shape: tuple[int, int, int]
    n_classes: int
    format: int = FORMAT


@dataclass(frozen=True)
class TensorSpec:
    """Shape and NumPy type name of one stored tensor."""

    shape: tuple[int, ...]
    dtype: str


Check = Callable[[TensorHeader, Mapping[str, TensorSpec]], None]


def write_tensors(path: Path, header: TensorHeader, tensors: Tensors) -> None:
    """Write tensors atomically. Equal tensors give equal bytes with one version of HDF5.

    Raises:
        StorageError: the folder is not writable or the disk is full.
    """
    text = json.dumps(dataclasses.asdict(header), sort_keys=True).encode()
    with publish_file(path) as partial:
        try:
            with h5py.File(partial, "w") as file:
                file.attrs[_HEADER] = np.bytes_(text)
                for name, values in tensors.items():
                    file.create_dataset(name, data=values)
        except (OSError, RuntimeError) as error:
            raise StorageError(f"{path}: cannot be written ({_one_line(error)}); free some disk space") from error


def read_tensors(path: Path, check: Check | None = None) -> tuple[TensorHeader, dict[str, Array]]:
    """Read a file written by :func:`write_tensors`.

    Args:
        path: the file.
        check: sees header, shapes and types before any value is read, and raises to refuse them.

    Raises:
        TargetError: the file is missing, is not such a file, or is damaged.
    """
    _check_is_hdf5(path)
    try:
        # Unlocked, because published files never change and some shared file systems cannot lock.
        with h5py.File(path, "r", locking=False) as file:
            header = _read_header(file, path)
            datasets = dict(_datasets(file, path))
            _check_size(datasets, path)
            if check is not None:
                check(header, {name: TensorSpec(d.shape, str(d.dtype)) for name, d in datasets.items()})
            return header, {name: dataset[()] for name, dataset in datasets.items()}
    except _DAMAGE as error:
        raise TargetError(f"{path}: truncated or damaged HDF5 file ({_one_line(error)}); {_REMEDY}") from error


def tensors_digest(tensors: Tensors) -> str:
    """Return the SHA-256 over paths, shapes, types and values, in the order of the paths."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name])
        little = values.astype(values.dtype.newbyteorder("<"), copy=False)
        sha.update(json.dumps([name, values.shape, str(values.dtype)]).encode())
        sha.update(little.tobytes())
    return sha.hexdigest()


def _check_is_hdf5(path: Path) -> None:
    if not path.is_file():
        raise TargetError(f"{path}: no such weights file; check the path, or publish the target again")
    try:
        with path.open("rb") as stream:
            stream.read(1)
    except OSError as error:
        raise TargetError(f"{path}: cannot be read ({error.strerror}); change its permissions") from error
    if not h5py.is_hdf5(path):
        raise TargetError(f"{path}: not an HDF5 file; {_REMEDY}")


def _read_header(file: h5py.File, path: Path) -> TensorHeader:
    if _HEADER not in file.attrs:
        raise TargetError(
            f"{path}: HDF5, but not weights in flprivacy's layout (it has no attribute {_HEADER}); load it into the "
            "architecture in Keras and write it with flprivacy.models.weights.save_weights"
        )
    kind = file.attrs.get_id(_HEADER).dtype
    if kind.kind != "S" or kind.itemsize > _MAX_HEADER_BYTES:
        raise TargetError(f"{path}: attribute {_HEADER} is not a short text; {_REMEDY}")
    try:
        header = json.loads(bytes(file.attrs[_HEADER]))
        if isinstance(header, dict) and header.get("format") != FORMAT:
            raise TargetError(
                f"{path}: weights layout {header.get('format')!r}; this version reads {FORMAT}; upgrade flprivacy"
            )
        return from_mapping(TensorHeader, header, _HEADER)
    except (ValueError, ConfigError) as error:
        raise TargetError(f"{path}: unreadable header ({_one_line(error)}); {_REMEDY}") from error


def _datasets(group: h5py.Group, path: Path, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield every dataset by its path, refusing whatever the writer would not have written."""
    if depth > _MAX_DEPTH or len(group) > _MAX_TENSORS:
        raise TargetError(f"{path}: groups nested too deep or too full at {prefix!r}; {_REMEDY}")
    for name in group:
        full = f"{prefix}{name}"
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise TargetError(f"{path}: {full!r} is a link to somewhere else ({type(link).__name__}); {_REMEDY}")
        member = group[name]
        if isinstance(member, h5py.Group):
            yield from _datasets(member, path, f"{full}/", depth + 1)
        elif isinstance(member, h5py.Dataset):
            _check_storage(member, full, path)
            yield full, member
        else:
            raise TargetError(f"{path}: {full!r} is a {type(member).__name__}, not a tensor; {_REMEDY}")


def _check_storage(dataset: h5py.Dataset, name: str, path: Path) -> None:
    layout = dataset.id.get_create_plist()
    plain = layout.get_layout() == h5py.h5d.CONTIGUOUS and not layout.get_external_count()
    numeric = dataset.dtype.kind in "fiu" and dataset.shape is not None
    if not plain or not numeric or dataset.id.get_storage_size() != dataset.nbytes:
        raise TargetError(f"{path}: {name!r} is not a plain numeric tensor stored whole; {_REMEDY}")


def _check_size(datasets: Mapping[str, h5py.Dataset], path: Path) -> None:
    """Refuse one stretch of bytes that goes by many names, before it fills the memory many times."""
    declared = sum(dataset.nbytes for dataset in datasets.values())
    held = path.stat().st_size
    if len(datasets) > _MAX_TENSORS or declared > held:
        raise TargetError(f"{path}: {len(datasets)} tensors of {declared} bytes in a file of {held}; {_REMEDY}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
