"""NIfTI files of the same scans as ``dicom_scans``."""

from pathlib import Path

import nibabel
import numpy as np
from dicom_scans import Scan


def write_nifti(path: Path, scan: Scan, *, dtype: str = "int16", version: int = 1, reoriented: str = "") -> Path:
    """Write a scan; ``reoriented`` stores its axes in another order, such as ``PSR``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ scan.affine[:, [2, 1, 0, 3]]
    data = np.rint(scan.hu()).transpose(2, 1, 0)  # (slice, row, column) -> (column, row, slice)
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    image = kind(data.astype(dtype), affine, dtype=dtype)
    image.header["descrip"] = b"zqx-description"
    if reoriented:
        target = nibabel.orientations.axcodes2ornt(tuple(reoriented))
        image = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), target))
    nibabel.save(image, path)
    return path
