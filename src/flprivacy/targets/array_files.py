"""What a network answered, brought as arrays: for one that cannot leave its owner, or in a format that is not read.

.. code-block:: text

    scan_ids              (scan,) ids as in the cohort's manifest, in any order
    features              (scan, feature)
    outputs               (scan, class)
    untrained_features    (initialisation, scan, feature) of the same network with fresh weights, several times
    untrained_outputs     (initialisation, scan, class)

in an ``.npz`` file; or in a Parquet file the columns ``scan_id``, ``features`` and ``outputs`` (lists of numbers), and
``initialisation``: empty in rows of the network itself, a number in those of its untrained twin. Features or outputs
may be missing, and so may the twin.
"""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from flprivacy.core.array_types import Float32Array, StrArray
from flprivacy.core.errors import TargetError
from flprivacy.core.publish import publish_file
from flprivacy.models.foreign.answers import NONE, PROBABILITIES, PROBABILITY, kind_by, probabilities
from flprivacy.models.hdf5 import one_line, printable

NPZ, PARQUET = ".npz", ".parquet"
_MOST_BYTES = 1 << 31
_LEAST_SPREAD = 1e-5  # relative to the size of the values; float32 rounds at 1e-7
_SHOWN = 3
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    MemoryError,
    RuntimeError,  # NotImplementedError among them
    SyntaxError,
    zlib.error,
    zipfile.BadZipFile,
    pa.ArrowException,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class AnswerArrays:
    """Answers to the scans of a cohort, by scan id.

    Attributes:
        scan_ids: (scan,), ascending.
        features: (scan, feature); None where the owner gives none.
        outputs: (scan, class) probabilities; None where the owner gives none.
        untrained_features: (initialisation, scan, feature); None without an untrained twin, or without features.
        untrained_outputs: (initialisation, scan, class) likewise.
    """

    scan_ids: StrArray
    features: Float32Array | None = None
    outputs: Float32Array | None = None
    untrained_features: Float32Array | None = None
    untrained_outputs: Float32Array | None = None

    @property
    def initialisations(self) -> int:
        """How often the twin was initialised; 0 without one."""
        twin = self.untrained_features if self.untrained_features is not None else self.untrained_outputs
        return 0 if twin is None else len(twin)

    @property
    def n_classes(self) -> int:
        """Classes of the outputs; 2 where there are none."""
        return 2 if self.outputs is None else self.outputs.shape[1]

    def twin(self, number: int) -> "AnswerArrays":
        """Return the answers of the untrained twin's initialisation of that number."""
        some = {
            name: None if twin is None else twin[number]
            for name, twin in (("features", self.untrained_features), ("outputs", self.untrained_outputs))
        }
        return AnswerArrays(scan_ids=self.scan_ids, **some)


_NAMES = tuple(one.name for one in fields(AnswerArrays))


def read_arrays(path: Path, *, answers: str = "", otherwise: str = "") -> tuple[AnswerArrays, str]:
    """Read arrays from a file, and return what the outputs were too.

    Args:
        path: ``.npz`` or Parquet.
        answers: what the outputs are, of ANSWERS; empty: what their values tell.
        otherwise: what they are if neither tells.

    Raises:
        TargetError: it is damaged, or holds scans twice, values that are no numbers or the same for every scan, or
            arrays that do not fit each other.
    """
    if not path.is_file():
        raise TargetError(f"{path}: no such file; check the path")
    try:
        found = _from_parquet(path) if path.name.lower().endswith(PARQUET) else _from_npz(path)
    except _DAMAGE as error:
        raise TargetError(
            f"{path}: not an .npz or Parquet file of answers by scan ({one_line(error)}); write it again, with plain "
            "numbers and ids as text"
        ) from error
    ids = _scan_ids(found, path)
    order = np.argsort(ids, kind="stable")
    arrays: dict[str, Float32Array] = {}
    for name in _NAMES[1:]:
        if name in found:
            arrays[name] = _checked(found[name], name, len(ids), path)[..., order, :]
    kind = NONE
    if "outputs" in arrays:
        kind = _kind(arrays["outputs"], answers, otherwise, path)
        for name in ("outputs", "untrained_outputs"):
            if name in arrays:
                arrays[name] = probabilities(arrays[name], kind).astype(np.float32)
    _check_twin(arrays, path)
    return AnswerArrays(scan_ids=ids[order], **arrays), kind


def load_answers(path: Path) -> AnswerArrays:
    """Read arrays that :func:`write_arrays` wrote.

    Raises:
        TargetError: as :func:`read_arrays`.
    """
    return read_arrays(path, answers=PROBABILITIES)[0]


def write_arrays(arrays: AnswerArrays, path: Path) -> None:
    """Write arrays to an ``.npz`` file, atomically; equal arrays give equal bytes."""
    held: dict[str, Any] = {name: getattr(arrays, name) for name in _NAMES if getattr(arrays, name) is not None}
    with publish_file(path) as partial, partial.open("wb") as stream:
        np.savez(stream, **held)


def _from_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    found = {}
    with zipfile.ZipFile(path) as archive:
        members = {one.filename.removesuffix(".npy"): one for one in archive.infolist()}
        unknown = sorted(set(members) - set(_NAMES))
        if unknown:
            raise ValueError(f"holds {printable(', '.join(unknown)[:200])}, which is none of {', '.join(_NAMES)}")
        if sum(one.file_size for one in members.values()) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
        for name, member in members.items():
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(stream)
                if dtype.hasobject or int(np.prod([int(size) for size in shape], dtype=object)) * dtype.itemsize > (
                    member.file_size
                ):
                    raise ValueError(f"{name} holds objects, or less than it claims")
            with archive.open(member) as stream:
                found[name] = np.lib.format.read_array(stream, allow_pickle=False)
    return found


def _from_parquet(path: Path) -> dict[str, npt.NDArray[Any]]:
    with pq.ParquetFile(path) as file:
        groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
        if sum(group.total_byte_size for group in groups) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
        table = file.read()
    unknown = sorted(set(table.column_names) - {"scan_id", "initialisation", "features", "outputs"})
    if unknown or "scan_id" not in table.column_names:
        listed = printable(", ".join(unknown)[:200])
        raise ValueError(
            f"columns are scan_id, initialisation, features and outputs, not {listed or 'without scan_id'}"
        )
    ids = table.column("scan_id").to_numpy()
    twin = table.column("initialisation").to_numpy() if "initialisation" in table.column_names else None
    number = np.full(len(ids), np.nan) if twin is None else twin.astype(np.float64)
    own = np.isnan(number)
    found: dict[str, npt.NDArray[Any]] = {"scan_ids": ids[own]}
    place = {str(one): at for at, one in enumerate(ids[own])}
    drawn = np.unique(number[~own])
    if any(sorted(ids[number == one].tolist()) != sorted(ids[own].tolist()) for one in drawn):
        raise ValueError("an initialisation of the twin holds other scans than the network itself")
    for name in ("features", "outputs"):
        if name not in table.column_names:
            continue
        values = np.asarray(table.column(name).to_pylist(), dtype=np.float32)
        found[name] = values[own]
        if len(drawn):
            twins = np.empty((len(drawn), *found[name].shape), np.float32)
            for at, one in enumerate(drawn):
                twins[at, [place[str(scan)] for scan in ids[number == one]]] = values[number == one]
            found[f"untrained_{name}"] = twins
    return found


def _scan_ids(found: Mapping[str, npt.NDArray[Any]], path: Path) -> StrArray:
    ids = found.get("scan_ids")
    if ids is None or ids.ndim != 1 or ids.dtype.kind not in "OSUiu" or not len(ids):
        raise TargetError(f"{path}: has no list of scan_ids; give one id a row, as in the cohort's manifest")
    texts = np.asarray([one.decode() if isinstance(one, bytes) else str(one) for one in ids.tolist()])
    _, first, counts = np.unique(texts, return_index=True, return_counts=True)
    if (counts > 1).any():
        rows = np.flatnonzero(texts == texts[first[counts > 1][0]])[:2]
        raise TargetError(f"{path}: rows {rows[0]} and {rows[1]} have the same scan id; give each scan once")
    return texts


def _checked(values: npt.NDArray[Any], name: str, n: int, path: Path) -> Float32Array:
    axes = 3 if name.startswith("untrained") else 2
    form = f"({'initialisation, ' if axes == 3 else ''}scan, column)"
    if values.dtype.kind not in "fiu" or values.ndim != axes or values.shape[-2] != n or 0 in values.shape:
        raise TargetError(f"{path}: {name} is {values.dtype} of shape {values.shape}; give numbers {form} of {n} scans")
    values = values.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=tuple(axis for axis in range(axes) if axis != axes - 2)))
    if len(bad):
        rows = ", ".join(map(str, bad[:_SHOWN])) + (f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else "")
        raise TargetError(
            f"{path}: {name} of row {rows} hold what is no number; ask the network again, or leave it out"
        )
    for one in values if axes == 3 else [values]:
        spread, size = one.std(axis=0, dtype=np.float64).max(), np.abs(one).max()
        if n > 1 and not spread > _LEAST_SPREAD * size:
            raise TargetError(
                f"{path}: {name} are the same for every scan (they vary by {spread:.1e} around {size:.1e}), so nothing "
                "can be said of what the network gives away; show it scans as it was trained on them"
            )
    return values


def _kind(outputs: Float32Array, stated: str, otherwise: str, path: Path) -> str:
    """Return what outputs are: as stated, or probabilities where their values are; nothing else shows in values."""
    kind = stated or kind_by("", outputs)
    if not stated and outputs.shape[1] == 1 and ((outputs >= 0.0) & (outputs <= 1.0)).all():
        kind = PROBABILITY
    kind = otherwise or NONE if kind == NONE else kind
    if kind == NONE:
        raise TargetError(
            f"{path}: outputs are no probabilities that add up to 1; say what they are with answers=logits, labels, "
            "probability or logit, or leave them out"
        )
    return kind


def _check_twin(arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> None:
    own = [name for name in ("features", "outputs") if name in arrays]
    twins = [name for name in own if f"untrained_{name}" in arrays]
    if not own:
        raise TargetError(f"{path}: holds neither features nor outputs; give one of them")
    if any(name not in own for name in ("features", "outputs") if f"untrained_{name}" in arrays) or twins not in (
        [],
        own,
    ):
        raise TargetError(f"{path}: the untrained twin needs the same arrays as the network, {' and '.join(own)}")
    for name in twins:
        twin = arrays[f"untrained_{name}"]
        if len(twin) < 2 or twin.shape[1:] != arrays[name].shape:
            raise TargetError(
                f"{path}: untrained_{name} has shape {twin.shape}; fresh weights vary at random, so give at least 2 "
                f"initialisations (10 are better) of {arrays[name].shape}"
            )
        if any(np.array_equal(one, arrays[name]) for one in twin) or np.array_equal(twin[0], twin[1]):
            raise TargetError(f"{path}: untrained_{name} repeats the network or itself; draw fresh weights each time")
