"""A cohort back as NIfTI files, for looking at it in a viewer.

Stored bytes go out as they are, with the slope and intercept that make them HU; importing the folder again gives the
same volumes. Files carry row numbers, and no pseudonym unless the table beside them is kept.
"""

import csv
import gzip
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header

from flprivacy.cohorts.format import read_volumes
from flprivacy.cohorts.importing.resample import AXES_LPS
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import CohortError, StorageError
from flprivacy.core.progress import track
from flprivacy.core.publish import publish_folder

TABLE_FILE = "scans.csv"
_COLUMNS = ("file", "patient_id", "site", "split", "label", "sex", "age_years")
_OFFSET = 352
_SCANNER = 1  # NIfTI's code for coordinates of the scanner


def export_nifti(cohort: Cohort, folder: Path, *, rows: npt.NDArray[np.integer] | None = None) -> int:
    """Write scans of a cohort as ``scan-<row number>.nii.gz`` and a table ``scans.csv``, atomically.

    Args:
        cohort: an opened cohort.
        folder: where they go; must not exist yet.
        rows: (n,) row numbers; all whose volumes are here if None.

    Returns:
        How many scans were written.

    Raises:
        CohortError: a row number does not exist, or its volume is not here.
        StorageError: the folder exists or cannot be written.
    """
    if folder.is_symlink() or folder.exists():
        raise StorageError(f"{folder}: exists already; give a new folder")
    if rows is None:
        here = np.ones(len(cohort.manifest), dtype=bool) if cohort.places is None else cohort.places >= 0
        rows = np.flatnonzero(here)
    if not len(rows):
        raise CohortError(f"{cohort.folder}: no scan to export; choose other rows")
    header = _header(cohort)
    try:
        with publish_folder(folder) as partial:
            for row in track(np.asarray(rows).tolist(), "exporting scans", len(rows)):
                volume = read_volumes(cohort, np.array([row]))[0]
                # mtime and name would otherwise enter the file, and it would differ each time.
                with (
                    (partial / _name(row)).open("wb") as raw,
                    gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0) as stream,
                ):
                    stream.write(header)
                    stream.write(np.ascontiguousarray(volume).data)
            _write_table(cohort, np.asarray(rows), partial / TABLE_FILE)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror}); free space") from error
    return len(rows)


def _name(row: int) -> str:
    return f"scan-{row:06d}.nii.gz"


def _header(cohort: Cohort) -> bytes:
    """Return the first bytes of every file. Without a spacing, voxels count as 1 mm."""
    depth, height, width = cohort.meta.shape
    low, high = cohort.meta.window_hu
    size = np.array(cohort.meta.spacing_mm or (1.0, 1.0, 1.0))
    lps = AXES_LPS.T * size  # columns: depth, height, width
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1.0, -1.0, 1.0]) @ lps[:, ::-1]  # (width, height, depth) -> NIfTI's (x, y, z)
    affine[:3, 3] = -affine[:3, :3] @ (np.array([width, height, depth]) - 1) / 2
    header: Any = cast(Any, Nifti1Header)()
    header.set_data_shape((width, height, depth))  # first axis fastest: the bytes of (depth, height, width)
    header.set_data_dtype(np.uint8)
    header.set_sform(affine, code=_SCANNER)
    header.set_qform(affine, code=_SCANNER)
    header.set_xyzt_units("mm")
    header["magic"], header["vox_offset"] = b"n+1", _OFFSET
    header["scl_slope"], header["scl_inter"] = (high - low) / 255.0, low
    return bytes(header.binaryblock).ljust(_OFFSET, b"\0")


def _write_table(cohort: Cohort, rows: npt.NDArray[np.int64], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        for row, scan in zip(rows.tolist(), cohort.manifest.iloc[rows].to_dict("records"), strict=True):
            age = scan["age_years"]
            writer.writerow(
                (
                    _name(row),
                    scan["patient_id"],
                    cohort.meta.site_names[scan["site_id"]],
                    scan["split"],
                    cohort.meta.class_names[scan["label"]],
                    scan["sex"] if isinstance(scan["sex"], str) else "",
                    "" if age != age else f"{age:g}",
                )
            )
