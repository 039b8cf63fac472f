"""Tensors by path in one HDF5 file, written whole and read with nothing taken on trust.

.. code-block:: text

    attribute flprivacy_weights     JSON: format, architecture, shape, n_classes
    Conv3d_1a_7x7_conv/kernel       one contiguous, uncompressed dataset a tensor, named by its path
    Conv3d_1a_7x7_bn/beta
    ...

A reader admits only what the writer writes (:mod:`flprivacy.models.hdf5`).
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from flprivacy.core.errors import ConfigError, StorageError, TargetError
from flprivacy.core.parsing import from_mapping
from flprivacy.core.publish import publish_file
from flprivacy.models.hdf5 import Array, one_line, open_guarded, read
from flprivacy.models.quarantine import vet

Tensors = Mapping[str, Array]

FORMAT = 1
_HEADER = "flprivacy_weights"
MOST_CLASSES = 4096  # larger heads fill the memory before anything shows that the file does not hold them
MOST_VOXELS = (1 << 16) - 1  # along one axis
_MAX_HEADER_BYTES = 4096
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
            raise StorageError(f"{path}: cannot be written ({one_line(error)}); free some disk space") from error


def read_tensors(path: Path, check: Check | None = None) -> tuple[TensorHeader, dict[str, Array]]:
    """Read a file written by :func:`write_tensors`; a stranger's only after :func:`vet_tensors`.

    Args:
        path: the file.
        check: sees header, shapes and types before any value is read, and raises to refuse them.

    Raises:
        TargetError: the file is missing, is not such a file, or is damaged.
    """
    with open_guarded(path, remedy=_REMEDY) as file:
        header = _read_header(file.root, path)
        datasets = file.tensors()
        if check is not None:
            check(header, {name: TensorSpec(d.shape, str(d.dtype)) for name, d in datasets.items()})
        return header, read(datasets)


def vet_tensors(path: Path) -> None:
    """Have a stranger's file walked through by another process: :mod:`flprivacy.models.quarantine`.

    Raises:
        TargetError: the file is missing or damaged.
    """
    vet(path, remedy=_REMEDY)


def header_of(path: Path) -> TensorHeader | None:
    """Return the header of a stranger's file; None if :func:`write_tensors` did not write it.

    Raises:
        TargetError: the file is missing, no HDF5 file, or damaged.
    """
    vet_tensors(path)
    with open_guarded(path, remedy=_REMEDY) as file:
        return _read_header(file.root, path) if _HEADER in file.root.attrs else None


def tensors_digest(tensors: Tensors) -> str:
    """Return the SHA-256 over paths, shapes, types and values, in the order of the paths."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name])
        little = values.astype(values.dtype.newbyteorder("<"), copy=False)
        sha.update(json.dumps([name, values.shape, str(values.dtype)]).encode())
        sha.update(little.tobytes())
    return sha.hexdigest()


def _read_header(file: h5py.File, path: Path) -> TensorHeader:
    if _HEADER not in file.attrs:
        raise TargetError(
            f"{path}: HDF5, but not weights in flprivacy's layout (it has no attribute {_HEADER}); make a target of it "
            "with 'flprivacy target import'"
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
        found = from_mapping(TensorHeader, header, _HEADER)
        if not 2 <= found.n_classes <= MOST_CLASSES or not all(1 <= size <= MOST_VOXELS for size in found.shape):
            raise ValueError(f"shape {found.shape} or {found.n_classes} classes are out of range")
        return found
    except (ValueError, ConfigError) as error:
        raise TargetError(f"{path}: unreadable header ({one_line(error)}); {_REMEDY}") from error
