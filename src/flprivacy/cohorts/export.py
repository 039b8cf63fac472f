"""A cohort back as NIfTI files, for looking at it in a viewer.

Stored bytes go out as they are, with the slope and intercept that make them HU; importing the folder again gives the
same volumes. Files carry row numbers, and no pseudonym unless the table beside them is kept. Files of synthetic scans
carry that mark, too, and are not imported as scans of patients.
"""

from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pandas as pd

from flprivacy.cohorts.format import read_volumes
from flprivacy.cohorts.importing.found import Volume
from flprivacy.cohorts.importing.nifti import SYNTHETIC_MARK
from flprivacy.cohorts.importing.resample import AXES_LPS
from flprivacy.core.cohort import SYNTHETIC_COLUMN, Cohort, CohortMeta
from flprivacy.core.errors import CohortError, StorageError
from flprivacy.core.progress import track
from flprivacy.core.publish import publish_folder

TABLE_FILE = "scans.csv"
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
    affine = _affine(cohort)
    try:
        with publish_folder(folder) as partial:
            for row in track(np.asarray(rows).tolist(), "exporting scans", len(rows)):
                _write(read_volumes(cohort, np.array([row]))[0], cohort.meta, affine, partial / _name(row))
            _table(cohort, np.asarray(rows)).to_csv(partial / TABLE_FILE, index=False, lineterminator="\r\n")
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror}); free space") from error
    return len(rows)


def _name(row: int) -> str:
    return f"scan-{row:06d}.nii.gz"


def _affine(cohort: Cohort) -> npt.NDArray[np.float64]:
    """Return (4, 4) from (width, height, depth) to NIfTI's (x, y, z). Without a spacing, voxels count as 1 mm."""
    lps = AXES_LPS.T * np.array(cohort.meta.spacing_mm or (1.0, 1.0, 1.0))  # columns: depth, height, width
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1.0, -1.0, 1.0]) @ lps[:, ::-1]
    affine[:3, 3] = -affine[:3, :3] @ (np.array(cohort.meta.shape[::-1]) - 1) / 2
    return affine


def _write(volume: Volume, meta: CohortMeta, affine: npt.NDArray[np.float64], path: Path) -> None:
    """Write one volume's bytes with the slope and intercept that make them HU; the same bytes every time."""
    low, high = meta.window_hu
    image = cast(Any, nib.Nifti1Image)(volume.transpose(2, 1, 0), affine)
    image.header.set_sform(affine, code=_SCANNER)
    image.header.set_qform(affine, code=_SCANNER)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter((high - low) / 255.0, low)
    if meta.synthetic_from is not None:
        image.header["descrip"] = SYNTHETIC_MARK
    image.to_filename(path)


def _table(cohort: Cohort, rows: npt.NDArray[np.int64]) -> pd.DataFrame:
    scans = cohort.manifest.iloc[rows]
    return pd.DataFrame(
        {
            "file": [_name(row) for row in rows.tolist()],
            "patient_id": scans["patient_id"].to_numpy(),
            "site": [cohort.meta.site_names[site] for site in scans["site_id"]],
            "split": scans["split"].to_numpy(),
            "label": [cohort.meta.class_names[label] for label in scans["label"]],
            "sex": scans["sex"].to_numpy(),
            "age_years": ["" if age != age else f"{age:g}" for age in scans["age_years"]],
        }
        | ({SYNTHETIC_COLUMN: "true"} if SYNTHETIC_COLUMN in scans else {})
    )
