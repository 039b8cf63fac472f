"""Weights files: tensors by path in one HDF5 file, written whole, and read with nothing taken on trust.

.. code-block:: text

    attribute flprivacy_weights     JSON: format, architecture, shape, n_classes
    Conv3d_1a_7x7_conv/kernel       one contiguous, uncompressed dataset a tensor, named by its path
    Conv3d_1a_7x7_bn/beta
    ...

A reader admits only what the writer writes (:mod:`flprivacy.models.hdf5`). Tensors are matched by path and shape, never
by position, and all of them or none. Importing this module imports no Keras.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from flprivacy.core.array_types import Array
from flprivacy.core.errors import ConfigError, StorageError, TargetError
from flprivacy.core.parsing import from_mapping
from flprivacy.core.publish import publish_file
from flprivacy.models.hdf5 import one_line, open_guarded
from flprivacy.models.quarantine import vet

if TYPE_CHECKING:
    import keras

    from flprivacy.models.architecture import TargetModel

Tensors = Mapping[str, Array]

SUFFIX = ".weights.h5"
FORMAT = 1
_HEADER = "flprivacy_weights"
MOST_CLASSES = 4096  # larger heads fill the memory before anything shows that the file does not hold them
MOST_VOXELS = (1 << 16) - 1  # along one axis
_MAX_HEADER_BYTES = 4096
_REMEDY = "copy it again from where it came, or write it again with save_weights"


@dataclass(frozen=True, kw_only=True)
class TensorHeader:
    """Which network the tensors belong to."""

    architecture: str  # name in the model registry
    shape: tuple[int, int, int]  # (depth, height, width) that the network takes, in voxels
    n_classes: int  # disease classes of its head
    format: int = FORMAT  # version of the file's layout


@dataclass(frozen=True)
class TensorSpec:
    """Shape and NumPy type name of one stored tensor."""

    shape: tuple[int, ...]
    dtype: str


def specs_of(tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    """Return shapes and types of arrays, datasets or variables."""
    return {name: TensorSpec(tuple(one.shape), str(one.dtype)) for name, one in tensors.items()}


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
        check: sees header, shapes and types before any value is read, and raises to refuse them.

    Raises:
        TargetError: the file is missing, is not such a file, or is damaged.
    """
    with open_guarded(path, remedy=_REMEDY) as file:
        header = _read_header(file.root, path)
        datasets = file.tensors()
        if check is not None:
            check(header, specs_of(datasets))
        return header, {name: dataset[()] for name, dataset in datasets.items()}


def vet_tensors(path: Path) -> None:
    """Have a stranger's file walked through by another process: :mod:`flprivacy.models.quarantine`."""
    vet(path, remedy=_REMEDY)


def header_of(path: Path) -> TensorHeader | None:
    """Return the header of a stranger's file; None if :func:`write_tensors` did not write it."""
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


@dataclass(frozen=True, kw_only=True)
class MatchReport:
    """How a weights file fits a model."""

    matched: int  # tensors of the model that the file holds in the same shape and type
    total: int  # tensors of the model, trunk and head
    missing: tuple[str, ...]  # paths of the model's tensors that the file lacks or holds in another shape or type
    left_over: tuple[str, ...]  # paths in the file that the model lacks


def save_weights(model: "TargetModel", path: Path) -> None:
    """Write a model's weights atomically to a ``.weights.h5`` file.

    Raises:
        TargetError: the file's name has another ending, or a weight is not finite.
        StorageError: the folder is not writable.
    """
    if not path.name.endswith(SUFFIX):
        raise TargetError(f"{path}: weights files end in {SUFFIX}; rename it")
    tensors = _tensors(model)
    _check_finite(tensors, path)
    write_tensors(path, _header(model), tensors)


def load_weights(model: "TargetModel", path: Path) -> MatchReport:
    """Put a file's weights into a built model; functions compiled for the model stay compiled.

    Either every tensor is found by its path, in the same shape and type, and set, or none is touched.

    Returns:
        The report of a full match.

    Raises:
        TargetError: the file is missing, is not HDF5, is truncated, belongs to another architecture, input shape or
            number of classes, lacks a tensor, has one too many, or holds a value that is not finite.
    """
    variables = _variables(model)
    wanted = specs_of(variables)
    _, tensors = read_tensors(path, partial(_check_fit, path, _header(model), wanted))
    _check_finite(tensors, path)
    for name, variable in variables.items():
        variable.assign(tensors[name])
    return match(wanted, specs_of(tensors))


def weights_digest(model: "TargetModel") -> str:
    """Return the SHA-256 over the paths, shapes, types and values of a model's weights."""
    return tensors_digest(_tensors(model))


def match(wanted: Mapping[str, TensorSpec], found: Mapping[str, TensorSpec]) -> MatchReport:
    """Compare the tensors that a model has with those that a file has."""
    missing = tuple(name for name, spec in wanted.items() if found.get(name) != spec)
    left_over = tuple(name for name in found if name not in wanted)
    return MatchReport(matched=len(wanted) - len(missing), total=len(wanted), missing=missing, left_over=left_over)


def _header(model: "TargetModel") -> TensorHeader:
    return TensorHeader(architecture=model.architecture, shape=model.shape, n_classes=model.n_classes)


def _variables(model: "TargetModel") -> "dict[str, keras.Variable]":
    return {variable.path: variable for variable in model.model.weights}


def _tensors(model: "TargetModel") -> dict[str, Array]:
    return {name: np.asarray(v) for name, v in _variables(model).items()}


def _check_fit(
    path: Path,
    model: TensorHeader,
    wanted: Mapping[str, TensorSpec],
    file: TensorHeader,
    found: Mapping[str, TensorSpec],
) -> None:
    report = match(wanted, found)
    if model == file and report.matched == report.total and not report.left_over:
        return
    raise TargetError(
        f"{path}: weights of {_describe(file)} do not fit {_describe(model)}: {report.matched} of {report.total} "
        f"tensors match, {len(report.left_over)} left over{_first_offence(report, wanted, found)}; "
        "name the architecture, shape and classes that it was written for in target.json, or give another file"
    )


def _describe(header: TensorHeader) -> str:
    depth, height, width = header.shape
    return f"{header.architecture} ({depth}x{height}x{width}, {header.n_classes} classes)"


def _first_offence(report: MatchReport, wanted: Mapping[str, TensorSpec], found: Mapping[str, TensorSpec]) -> str:
    if report.missing:
        name = report.missing[0]
        here = f"is {_spec(found[name])} in the file" if name in found else "is not in the file"
        return f"; the first is {name}, which {here} and {_spec(wanted[name])} in the model"
    return f"; the first is {report.left_over[0]}, which the model lacks" if report.left_over else ""


def _spec(spec: TensorSpec) -> str:
    return f"{spec.dtype} {spec.shape}"


def _check_finite(tensors: Tensors, path: Path) -> None:
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise TargetError(
                f"{path}: {name} holds values that are not finite; training diverged: train again with a lower "
                "learning rate"
            )
