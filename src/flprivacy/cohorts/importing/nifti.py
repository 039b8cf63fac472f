"""NIfTI files named by a table.

The header is parsed here by nibabel's header classes from its first bytes alone; extensions are never read, and
voxels are streamed slice by slice, so that neither a claimed size nor a compressed one is believed before the data
are there.
"""

import gzip
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from flprivacy.cohorts.importing.candidates import asked_shape, candidate, check_row, leaving_out
from flprivacy.cohorts.importing.config import FORMS, SFORM, ImportConfig
from flprivacy.cohorts.importing.dicom_files import quiet
from flprivacy.cohorts.importing.found import Candidate, Found, LeftOut, ScanError, damage, refusing
from flprivacy.cohorts.importing.pseudonyms import Pseudonyms
from flprivacy.cohorts.importing.stack import MAX_EDGE, MAX_SLICES, Plane, Stack
from flprivacy.cohorts.importing.table import ScanTable, TableRow
from flprivacy.core.errors import CohortError, ConfigError
from flprivacy.core.progress import track

_DRIVE = re.compile(r"[A-Za-z]:/")
_SAME = 0.01  # radians, or share of a voxel's size
_GZIP = b"\x1f\x8b"
_MM = {"meter": 1000.0, "micron": 0.001}  # units of length other than millimetres
_SUFFIXES = (".nii", ".nii.gz")
_TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
_MAX_OFFSET = 64 << 20
_CHUNK = 1 << 20
_HEADER_BYTES = 540
SYNTHETIC_MARK = b"flprivacy synthetic"  # how the header's description begins of a synthetic scan that was exported
_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # NIfTI's x and y point the other way than DICOM's


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where a file's voxels are and what they mean."""

    path: Path
    columns: int
    rows: int
    slices: int
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float


def find_nifti(root: Path, *, config: ImportConfig, pseudonyms: Pseudonyms, table: ScanTable) -> Found:
    """List the NIfTI files that a table names.

    Args:
        root: the folder that the table's paths start from.
        config: settings.
        pseudonyms: turn identifiers into pseudonyms.
        table: column ``file``, a relative path with ``/``, and ``patient_id``; site, sex, age, label and split.

    Raises:
        CohortError: the folder is missing, the table has no patients, or a path leads out of the folder.
        ConfigError: there is no way to tell sites.
    """
    shape = asked_shape(config)
    if not (config.site or "site" in table.columns):
        raise ConfigError("no way to tell sites; name one for all scans, or add a column 'site' to the table")
    if "patient_id" not in table.columns:
        raise CohortError(f"{table.path}: has no column 'patient_id'; without it a patient could land in both splits")
    if not root.is_dir():
        raise CohortError(f"{root}: not a folder; give the one that the table's paths start from")
    paths = {name: _inside(root, name, row.number, table.path) for name, row in table.rows.items()}
    rows = {path: row.number for path, row in zip(paths.values(), table.rows.values(), strict=True)}
    for path, row in zip(paths.values(), table.rows.values(), strict=True):
        if rows[path] != row.number:
            also = f"row {row.number} and row {rows[path]} name one file; leave one out"
            raise CohortError(f"{table.path}: {also}")
    candidates: list[Candidate] = []
    left_out: list[LeftOut] = []
    for name, row in track(table.rows.items(), "reading NIfTI headers", len(table.rows)):
        with leaving_out(f"row {row.number}", left_out):
            candidates.append(_candidate(name, paths[name], row, config, pseudonyms))
    return Found(
        source="nifti",
        shape=shape,
        candidates=tuple(candidates),
        left_out=tuple(left_out),
        counts=table.counts,
        class_names=config.classes,
        notes=table.notes,
    )


def read_nifti(path: Path, *, form: str = SFORM) -> Stack:
    """Read the header of a ``.nii`` or ``.nii.gz`` file, version 1 or 2, of one volume of grey values in HU.

    Where ``sform`` and ``qform`` are both set and disagree, ``form`` is taken and the stack's notes say so.

    Raises:
        ScanError: the file is damaged, has no place in the patient, or claims what cannot be.
    """
    with quiet(), refusing("damaged NIfTI header"):
        with _opened(path) as stream:
            data = stream.read(_HEADER_BYTES)
        header = _header(data)
        if header["descrip"].tobytes().startswith(SYNTHETIC_MARK):
            raise ScanError("synthetic scan", "a generator made it, and it is of no patient")
        layout = _layout(header, path)
        affine, notes = _affine(header, form)
        affine[:3] *= _MM.get(header.get_xyzt_units()[0], 1.0)
        lps = _FROM_RAS @ affine[:, [2, 1, 0, 3]]  # (column, row, slice) -> (slice, row, column)
        lengths = np.linalg.norm(lps[:3, :3], axis=0)
        sound = np.isfinite(lps).all() and lengths.min() >= 0.01 and lengths.max() <= 100.0
        if not sound or abs(np.linalg.det(lps[:3, :3] / lengths)) < 0.1:
            raise ScanError("absurd geometry", "voxels of " + " x ".join(f"{length:.3g}" for length in lengths) + " mm")
    return Stack(
        rows=layout.rows,
        columns=layout.columns,
        places=np.arange(layout.slices, dtype=np.float64),
        affine=lps,
        planes=partial(_planes, layout),
        notes=notes,
    )


def _affine(header: Any, form: str) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """Return (4, 4) from (column, row, slice, 1) to NIfTI's (x, y, z, 1), and a note where there are two."""
    forms = [name for name in FORMS if int(header[f"{name}_code"]) > 0]
    if not forms:
        raise ScanError("no orientation", "neither sform nor qform is set")
    taken = form if form in forms else forms[0]
    affine = np.asarray(getattr(header, f"get_{taken}")(), dtype=np.float64)
    if len(forms) == 1:
        return affine, ()
    (other,) = set(forms) - {taken}
    try:
        same = _same_axes(affine, np.asarray(getattr(header, f"get_{other}")(), dtype=np.float64))
    except damage():
        return affine, (f"the {other} cannot be read; the {taken} was taken",)
    return affine, () if same else (f"sform and qform disagree; the {taken} was taken",)


def _same_axes(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> bool:
    """Say whether two affines agree on directions and voxel size; where the origin lies does not matter."""
    sizes = [np.linalg.norm(affine[:3, :3], axis=0) for affine in (first, second)]
    turned = np.abs(first[:3, :3] / sizes[0] - second[:3, :3] / sizes[1]).max()
    return bool(np.allclose(sizes[0], sizes[1], rtol=_SAME, atol=0.0) and turned < _SAME)


def _header(data: bytes) -> Any:
    version_1, version_2 = cast(Any, Nifti1Header), cast(Any, Nifti2Header)  # nibabel's headers have no types
    size = int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big")
    if 348 in size:
        return version_1(data[:348])
    if 540 in size:
        return version_2(data)
    raise ScanError("not a NIfTI file")


def _layout(header: Any, path: Path) -> _Layout:
    if bytes(header["magic"].tobytes())[:3] not in (b"n+1", b"n+2"):
        raise ScanError("not a single-file NIfTI")
    shape = header.get_data_shape()
    if len(shape) < 3 or any(edge != 1 for edge in shape[3:]):
        raise ScanError("not one volume", f"{len(shape)} dimensions")
    columns, rows, slices = (int(edge) for edge in shape[:3])
    if not (2 <= columns <= MAX_EDGE and 2 <= rows <= MAX_EDGE and 2 <= slices <= MAX_SLICES):
        raise ScanError("absurd dimensions", f"{slices} x {rows} x {columns} voxels")
    dtype = header.get_data_dtype()
    if dtype.str[1:] not in _TYPES:
        raise ScanError("not grey values", "use whole numbers or floats")
    slope, intercept = header.get_slope_inter()
    slope, intercept = 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)
    if not (np.isfinite([slope, intercept]).all() and 0.0 < abs(slope) < 1e4 and abs(intercept) < 1e6):
        raise ScanError("absurd rescale")
    offset = int(header.get_data_offset())
    if not 0 <= offset <= _MAX_OFFSET:
        raise ScanError("absurd data offset")
    bytes_needed = offset + columns * rows * slices * dtype.itemsize
    if not _is_packed(path) and path.stat().st_size < bytes_needed:
        raise ScanError("truncated pixel data", "the file is smaller than the volume that it claims")
    return _Layout(
        path=path,
        columns=columns,
        rows=rows,
        slices=slices,
        dtype=dtype,
        offset=offset,
        slope=slope,
        intercept=intercept,
    )


def _planes(layout: _Layout) -> Iterator[Plane]:
    """Yield slices in order, float32 (rows, columns) in HU."""
    size = layout.rows * layout.columns * layout.dtype.itemsize
    with refusing("truncated or damaged pixel data"), _opened(layout.path) as stream:
        left = layout.offset
        while left:
            skipped = len(stream.read(min(left, _CHUNK)))
            if not skipped:
                raise EOFError
            left -= skipped
        for number in range(layout.slices):
            data = stream.read(size)
            if len(data) != size:
                raise EOFError
            if number == layout.slices - 1:
                stream.read(1)  # at its end a compressed file's checksum is compared
            stored: npt.NDArray[Any] = np.frombuffer(data, layout.dtype).reshape(layout.rows, layout.columns)
            yield stored.astype(np.float32) * np.float32(layout.slope) + np.float32(layout.intercept)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    raw = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb")
    with raw:
        if not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
            raise ScanError("not a regular file")
        if raw.peek(2)[:2] == _GZIP:  # whatever its name says
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield unpacked  # type: ignore[misc]
        else:
            yield raw


def _is_packed(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP


def _inside(root: Path, name: str, number: int, where: Path) -> Path:
    """Return the path of a table's file, or refuse one that leaves the folder by name or by link.

    Letters with accents have two forms in Unicode, and the file may be named in the other than the table.
    """
    pure, folder = PurePosixPath(name), root.resolve()
    paths: list[Path] = []
    if not (_DRIVE.match(name) or ".." in pure.parts or "\0" in name):
        with suppress(OSError, RuntimeError, ValueError):  # a name too long, or a loop of links
            paths = [(root.absolute() / unicodedata.normalize(form, name)).resolve() for form in ("NFC", "NFD")]
    if not paths or not all(path.is_relative_to(folder) for path in paths):
        raise CohortError(
            f"{where}: 'file' of row {number} leads out of the source folder; give a relative path inside it"
        )
    return next((path for path in paths if path.exists()), None) or _other_case(paths[0]) or paths[0]


def _other_case(path: Path) -> Path | None:
    """Return the one file beside it whose name differs in small and capital letters only, as some systems allow."""
    with suppress(OSError):
        found = [one for one in path.parent.iterdir() if one.name.casefold() == path.name.casefold()]
        return found[0] if len(found) == 1 else None
    return None


def _candidate(name: str, path: Path, row: TableRow, config: ImportConfig, pseudonyms: Pseudonyms) -> Candidate:
    check_row(row, config)
    if not path.name.lower().endswith(_SUFFIXES):
        raise ScanError("not a NIfTI file", "names end in .nii or .nii.gz; convert it to one")
    try:
        status = path.lstat()
    except OSError:
        raise ScanError("file not found") from None
    stack = read_nifti(path, form=config.orientation)
    state = (str(path), str(status.st_size), str(status.st_mtime_ns))
    return candidate(
        name, row, stack, config=config, pseudonyms=pseudonyms, source="nifti", state=state, notes=stack.notes
    )
