"""Landmarks of DICOM series with known geometry land where they should, to within a voxel."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from dicom_scans import HU, Scan, slice_dataset, turn, turned, write_multiframe, write_series

from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.dicom import find_dicom
from flprivacy.cohorts.importing.found import Candidate, Found
from flprivacy.cohorts.importing.pseudonyms import Pseudonyms

NAMES = Pseudonyms("k" * 32)
SHAPE = (30, 40, 34)
PLAIN = Scan(uid="1.2.3")


def find(root: Path, **settings: object) -> Found:
    config = ImportConfig(
        **{"name": "x", "shape": SHAPE, "window_hu": (-1000.0, 2500.0), "site": "Basel"} | settings  # type: ignore[arg-type]
    )
    return find_dicom(root, config=config, pseudonyms=NAMES)


def only(found: Found) -> Candidate:
    assert not found.left_out
    (candidate,) = found.candidates
    return candidate


def expected_voxels(scan: Scan, spacing_mm: Sequence[float] | None = None) -> npt.NDArray[np.float64]:
    """(landmark, 3) index along depth, height and width, from the scan's definition alone."""
    corners = np.array([[i, j, k, 1.0] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    corners[:, :3] = corners[:, :3] * np.array(scan.shape) - 0.5
    points = (scan.affine @ corners.T)[:3].T * np.array([1.0, 1.0, -1.0])  # x to the left, y to the back, z to the feet
    low, high = points.min(axis=0)[::-1], points.max(axis=0)[::-1]  # depth, height, width
    size = (high - low) / SHAPE if spacing_mm is None else np.array(spacing_mm)
    first = (low + high) / 2 - size * (np.array(SHAPE) - 1) / 2
    marks = (scan.landmarks() * np.array([1.0, 1.0, -1.0]))[:, ::-1]
    return (marks - first) / size


def found_voxels(volume: npt.NDArray[np.uint8], expected: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(landmark, 3): the centre of mass of what is bright, taking each bright voxel to its nearest landmark."""
    bright = np.argwhere(volume > 40)
    weights = volume[tuple(bright.T)].astype(float)
    nearest = np.linalg.norm(bright[:, None] - expected[None], axis=2).argmin(axis=1)
    return np.array(
        [np.average(bright[nearest == i], axis=0, weights=weights[nearest == i]) for i in range(len(expected))]
    )


def assert_landmarks(candidate: Candidate, scan: Scan, spacing_mm: Sequence[float] | None = None) -> None:
    volume = candidate.read().volume
    assert volume.shape == SHAPE
    expected = expected_voxels(scan, spacing_mm)
    at = np.rint(expected).astype(int)
    near = [volume[tuple(slice(max(0, i - 1), i + 2) for i in mark)].max() for mark in at]
    # Each landmark has its own brightness: a wrong axis or a mirror image would put another one here, or none.
    assert near[0] < near[1] < near[2]
    # Averaging over a voxel takes some of a ball's height.
    assert np.all(np.array(near) > [0.55 * 255 * (h + 1000) / 3500 for h in HU])
    distance = np.linalg.norm(found_voxels(volume, expected) - expected, axis=1)
    assert distance.max() < 0.5, distance


GEOMETRIES = {
    "axial, anisotropic": PLAIN,
    "fine slices, coarse pixels": replace(PLAIN, shape=(90, 28, 30), spacing_mm=(1.25, 4.4, 3.7)),
    "reversed slices": replace(PLAIN, slice_direction=(0.0, 0.0, -1.0)),
    "left decubitus": replace(PLAIN, row_direction=(-1.0, 0.0, 0.0), column_direction=(0.0, 1.0, 0.0)),
    "right decubitus": replace(PLAIN, row_direction=(1.0, 0.0, 0.0), column_direction=(0.0, -1.0, 0.0)),
    "prone": replace(PLAIN, row_direction=(0.0, -1.0, 0.0), column_direction=(-1.0, 0.0, 0.0)),
    "coronal": replace(PLAIN, shape=(36, 34, 40), slice_direction=(0.0, 1.0, 0.0), row_direction=(0.0, 0.0, -1.0)),
    "sagittal": replace(
        PLAIN,
        shape=(36, 34, 40),
        slice_direction=(1.0, 0.0, 0.0),
        row_direction=(0.0, 0.0, -1.0),
        column_direction=(0.0, 1.0, 0.0),
    ),
    "oblique": turned(replace(PLAIN, shape=(30, 50, 44)), turn(17.0, 0) @ turn(-11.0, 1) @ turn(8.0, 2)),
    "oblique decubitus": turned(
        replace(PLAIN, row_direction=(-1.0, 0.0, 0.0), column_direction=(0.0, 1.0, 0.0)), turn(20.0, 0)
    ),
    "rescaled": replace(PLAIN, slope=0.5, intercept=-1000.0),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_landmarks_land_to_within_a_voxel(tmp_path: Path, name: str) -> None:
    scan = GEOMETRIES[name]
    order = np.random.default_rng(1).permutation(scan.shape[0]).tolist()  # file names say nothing of the order
    write_series(tmp_path, scan, order=order)
    candidate = only(find(tmp_path))
    assert_landmarks(candidate, scan)
    assert candidate.slices == scan.shape[0]
    assert any("oblique" in note for note in candidate.notes) == ("oblique" in name)


def test_landmarks_with_a_fixed_voxel_size(tmp_path: Path) -> None:
    write_series(tmp_path, PLAIN)
    spacing = (5.0, 3.5, 4.0)
    assert_landmarks(only(find(tmp_path, spacing_mm=spacing)), PLAIN, spacing)


@pytest.mark.parametrize("degrees", [-18.0, 12.0])
def test_gantry_tilt_is_straightened_and_reported(tmp_path: Path, degrees: float) -> None:
    # Slices lean, the table moves along z: a sheared stack.
    row = tuple((turn(degrees, 0) @ np.array([0.0, 1.0, 0.0])).tolist())
    scan = replace(PLAIN, row_direction=row)
    write_series(tmp_path, scan)
    candidate = only(find(tmp_path))
    assert_landmarks(candidate, scan)
    (tilt,) = [note for note in candidate.notes if "gantry tilt" in note]
    assert f"{abs(degrees):.1f} degrees" in tilt


def test_a_stated_tilt_that_the_slices_do_not_have_is_reported(tmp_path: Path) -> None:
    write_series(tmp_path, replace(PLAIN, tags={"GantryDetectorTilt": "15"}))
    candidate = only(find(tmp_path))
    assert_landmarks(candidate, PLAIN)
    assert "a gantry tilt is stated, but slices are not tilted" in candidate.notes


def test_multiframe(tmp_path: Path) -> None:
    order = np.random.default_rng(2).permutation(PLAIN.shape[0]).tolist()
    write_multiframe(tmp_path / "one", PLAIN, order=order)
    candidate = only(find(tmp_path))
    assert candidate.slices == PLAIN.shape[0]
    assert_landmarks(candidate, PLAIN)


def test_compressed_slices(tmp_path: Path) -> None:
    write_series(tmp_path / "plain", PLAIN)
    write_series(tmp_path / "packed", PLAIN, compress=True)
    volumes = [only(find(tmp_path / name)).read().volume for name in ("plain", "packed")]
    np.testing.assert_array_equal(*volumes)


def test_missing_slices_are_reported_and_interpolated_only_if_allowed(tmp_path: Path) -> None:
    kept = [number for number in range(PLAIN.shape[0]) if number not in (3, 4, 17)]
    write_series(tmp_path, PLAIN, order=kept)
    (refused,) = find(tmp_path).left_out
    assert (refused.reason, refused.detail) == ("missing slices", "3 of 26")
    candidate = only(find(tmp_path, max_missing=0.15))
    assert candidate.missing == 3
    assert "3 missing slices, interpolated" in candidate.notes
    assert_landmarks(candidate, PLAIN)


def test_interpolated_slices_lie_between_their_neighbours(tmp_path: Path) -> None:
    # HU rises with the slice: linear interpolation gives exactly what a missing slice held.
    shape = (20, 8, 6)
    scan = replace(PLAIN, shape=shape, spacing_mm=(4.0, 4.0, 4.0))

    class Ramp(Scan):
        def hu(self) -> npt.NDArray[np.float64]:
            return np.broadcast_to(100.0 * np.arange(20.0)[:, None, None] - 1000.0, shape).copy()

    ramp = Ramp(**{name: getattr(scan, name) for name in scan.__dataclass_fields__})
    write_series(tmp_path / "whole", ramp)
    write_series(tmp_path / "holes", ramp, order=[n for n in range(20) if n not in (5, 6, 12)])
    volumes = [
        only(find(tmp_path / name, shape=shape, max_missing=0.2)).read().volume.astype(int)
        for name in ("whole", "holes")
    ]
    np.testing.assert_allclose(volumes[1], volumes[0], atol=1)
    assert volumes[0][0, 0, 0] > volumes[0][-1, 0, 0], "depth runs from head to feet"


def test_positions_rounded_by_the_scanner_do_not_add_up(tmp_path: Path) -> None:
    scan = replace(PLAIN, shape=(120, 16, 16), spacing_mm=(1.25, 6.0, 6.0))
    hu = scan.hu()
    for number in range(120):
        dataset = slice_dataset(scan, number, hu)
        dataset.ImagePositionPatient = [f"{float(value):.1f}" for value in dataset.ImagePositionPatient]
        dataset.save_as(tmp_path / f"{number}", enforce_file_format=True)
    assert_landmarks(only(find(tmp_path)), scan)


def test_blocks_are_averaged(tmp_path: Path) -> None:
    # A checkerboard of single voxels must come out even grey, not as moire.
    scan = replace(PLAIN, shape=(24, 64, 60), spacing_mm=(2.0, 1.0, 1.0))

    class Board(Scan):
        def hu(self) -> npt.NDArray[np.float64]:
            return np.where(np.indices(self.shape).sum(axis=0) % 2 == 0, -1000.0, 0.0)

    write_series(tmp_path, Board(**{name: getattr(scan, name) for name in scan.__dataclass_fields__}))
    volume = only(find(tmp_path, shape=(6, 16, 15), window_hu=(-1000.0, 0.0))).read().volume
    assert np.abs(volume.astype(int) - 127).max() <= 1


def test_what_the_scan_does_not_reach_is_air(tmp_path: Path) -> None:
    class Water(Scan):
        def hu(self) -> npt.NDArray[np.float64]:
            image = np.full(self.shape, 1.0)  # exactly 0 all around is what filters fill up with
            image[4:8, 10:20, 8:16] = -1000.0  # in HU there is some air
            return image

    write_series(tmp_path, Water(uid="1.2.3"))
    volume = only(find(tmp_path, spacing_mm=(8.0, 5.0, 6.0), window_hu=(-1000.0, 0.0))).read().volume
    assert (volume[15, 20] == 0).sum() >= 14
    assert volume[15, 20, 17] == 255
    whole = only(find(tmp_path, window_hu=(-1000.0, 0.0))).read().volume
    edges = [whole.take([0, -1], axis=axis) for axis in range(3)]
    assert all((edge == 255).all() for edge in edges), "the whole field of view leaves no air at its edges"


@pytest.mark.parametrize(
    ("value", "tags", "signed"),
    [
        (2000.0, {"PixelPaddingValue": 3024}, 1),
        (-2000.0, {"PixelPaddingValue": 0xFC30}, 1),  # -976, written as an unsigned number
        (2000.0, {"PixelPaddingValue": 3024}, 0),
        (1950.0, {"PixelPaddingValue": 2900, "PixelPaddingRangeLimit": 3100}, 1),
        (1950.0, {"PixelPaddingValue": 3100, "PixelPaddingRangeLimit": 2900}, 0),
    ],
)
def test_padding_is_air(tmp_path: Path, value: float, tags: dict[str, int], signed: int) -> None:
    class Padded(Scan):
        def hu(self) -> npt.NDArray[np.float64]:
            image = np.zeros(self.shape)
            image[:, 30:] = -1000.0
            image[:, :, :4] = value
            return image

    for path in write_series(tmp_path, Padded(uid="1.2.3")):
        dataset = pydicom.dcmread(path)
        dataset.PixelRepresentation = signed
        for keyword, number in tags.items():
            dataset.add_new(keyword, "US", number)
        dataset.save_as(path, enforce_file_format=True)
    volume = only(find(tmp_path, window_hu=(-1000.0, 2500.0))).read().volume
    assert 70 < volume.max() < 75
    assert (volume[:, :, :2] == 0).all()
