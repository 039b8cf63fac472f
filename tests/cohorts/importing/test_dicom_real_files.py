"""Import of the real CT files that come with pydicom."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from test_dicom_geometry import find, only

from flprivacy.cohorts.importing.dicom_files import planes_hu
from flprivacy.cohorts.importing.dicom_header import read_header
from flprivacy.cohorts.importing.found import ScanError
from flprivacy.cohorts.importing.resample import window

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
SERIES = FILES / "dicomdirtests"


def test_a_real_axial_series_on_its_own_grid_comes_out_voxel_for_voxel() -> None:
    candidate = only(find(SERIES / "98892001" / "CT5N", min_slices=4, shape=(5, 16, 16)))
    files = [pydicom.dcmread(path) for path in (SERIES / "98892001" / "CT5N").iterdir()]
    files.sort(key=lambda file: -float(file.ImagePositionPatient[2]))  # from head to feet
    hu = np.stack([file.pixel_array * float(file.RescaleSlope) + float(file.RescaleIntercept) for file in files])
    expected = window(np.clip(hu, -1024, 3071).astype(np.float32), (-1000.0, 2500.0))
    assert expected.std() > 5, "the files hold an image"
    np.testing.assert_allclose(candidate.read().volume.astype(int), expected.astype(int), atol=1)
    assert (candidate.sex, candidate.age_years, candidate.slices) == ("M", 43.0, 5)


def test_a_real_series_with_missing_slices_is_left_out() -> None:
    # Four files: one from the lower end of the series, three from the upper.
    (left_out,) = find(SERIES / "77654033" / "CT2", min_slices=4).left_out
    assert (left_out.reason, left_out.detail) == ("missing slices", "161 of 165")


def test_a_real_localizer_is_left_out() -> None:
    found = find(SERIES / "98892001" / "CT2N", min_slices=2)
    assert [item.reason for item in found.left_out] == ["localizer"]


def test_magnetic_resonance_and_radiographs_are_counted_not_taken() -> None:
    found = find(SERIES / "98892003")
    assert not found.candidates
    assert found.counts["DICOM files that are not CT"] == found.counts["files"] == 17


@pytest.mark.parametrize("name", ["CT_small.dcm", "693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm"])
def test_pixels_of_real_files_plain_and_jpeg_2000(name: str) -> None:
    _, (piece,) = read_header(FILES / name)
    (plane,) = planes_hu([piece])
    file = pydicom.dcmread(FILES / name)
    expected = file.pixel_array * float(file.RescaleSlope) + float(file.RescaleIntercept)
    padding = file.get("PixelPaddingValue")
    known = np.ones(plane.shape, bool) if padding is None else file.pixel_array != padding
    np.testing.assert_array_equal(plane[known], expected[known].astype(np.float32))
    assert np.isnan(plane[~known]).all()
    assert plane.shape == (file.Rows, file.Columns)


def test_a_real_tilted_slice() -> None:
    header, _ = read_header(FILES / "J2K_pixelrep_mismatch.dcm")
    assert header.tilt_degrees == -22.0
    normal = np.cross(header.orientation[:3], header.orientation[3:])
    assert np.degrees(np.arccos(normal[2])) == pytest.approx(22.0, abs=0.1)


def test_every_file_of_pydicom_is_read_or_refused_clearly() -> None:
    counts = {"read": 0, "refused": 0}
    for path in sorted(FILES.rglob("*")):
        if path.is_file():
            try:
                header, slices = read_header(path)
                for plane in planes_hu(slices):
                    assert plane.shape == (header.rows, header.columns)
                counts["read"] += 1
            except ScanError:
                counts["refused"] += 1
    assert counts["read"] >= 12
    assert counts["refused"] >= 100
