"""Weights files: tensors matched by path and shape, never by position, and all of them or none."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from flprivacy.core.errors import TargetError
from flprivacy.models.architecture import TargetModel
from flprivacy.models.hdf5 import Array
from flprivacy.models.tensor_file import (
    TensorHeader,
    Tensors,
    TensorSpec,
    read_tensors,
    tensors_digest,
    write_tensors,
)

SUFFIX = ".weights.h5"


@dataclass(frozen=True, kw_only=True)
class MatchReport:
    """How a weights file fits a model.

    Attributes:
        matched: tensors of the model that the file holds in the same shape and type.
        total: tensors of the model, trunk and head.
        missing: paths of the model's tensors that the file lacks or holds in another shape or type.
        left_over: paths in the file that the model lacks.
    """

    matched: int
    total: int
    missing: tuple[str, ...]
    left_over: tuple[str, ...]


def save_weights(model: TargetModel, path: Path) -> None:
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


def load_weights(model: TargetModel, path: Path) -> MatchReport:
    """Put a file's weights into a built model; functions compiled for the model stay compiled.

    Either every tensor is found by its path, in the same shape and type, and set, or none is touched.

    Returns:
        The report of a full match.

    Raises:
        TargetError: the file is missing, is not HDF5, is truncated, belongs to another architecture, input shape or
            number of classes, lacks a tensor, has one too many, or holds a value that is not finite.
    """
    variables = _variables(model)
    wanted = {name: TensorSpec(tuple(v.shape), str(v.dtype)) for name, v in variables.items()}

    def check(header: TensorHeader, found: Mapping[str, TensorSpec]) -> None:
        _check_fit(path, _header(model), header, wanted, found)

    _, tensors = read_tensors(path, check)
    _check_finite(tensors, path)
    for name, variable in variables.items():
        variable.assign(tensors[name])
    return match(wanted, {name: TensorSpec(v.shape, str(v.dtype)) for name, v in tensors.items()})


def weights_digest(model: TargetModel) -> str:
    """Return the SHA-256 over the paths, shapes, types and values of a model's weights."""
    return tensors_digest(_tensors(model))


def match(wanted: Mapping[str, TensorSpec], found: Mapping[str, TensorSpec]) -> MatchReport:
    """Compare the tensors that a model has with those that a file has."""
    missing = tuple(name for name, spec in wanted.items() if found.get(name) != spec)
    left_over = tuple(name for name in found if name not in wanted)
    return MatchReport(matched=len(wanted) - len(missing), total=len(wanted), missing=missing, left_over=left_over)


def _header(model: TargetModel) -> TensorHeader:
    return TensorHeader(architecture=model.architecture, shape=model.shape, n_classes=model.n_classes)


def _variables(model: TargetModel) -> dict[str, keras.Variable]:
    return {variable.path: variable for variable in model.model.weights}


def _tensors(model: TargetModel) -> dict[str, Array]:
    return {name: np.asarray(v) for name, v in _variables(model).items()}


def _check_fit(
    path: Path,
    model: TensorHeader,
    file: TensorHeader,
    wanted: Mapping[str, TensorSpec],
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
