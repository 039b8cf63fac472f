"""Both protocols against naive references: loops for ``standard``, TensorFlow's operations for ``flprivacy-2023``."""

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from tiny_cohort import one_clear_line, write_tiny

from flprivacy.cohorts import preprocessing
from flprivacy.cohorts.preprocessing import view_keys
from flprivacy.core.errors import CohortError, ConfigError

STANDARD, REFERENCE = "standard", "flprivacy-2023"


def _scans(n: int, shape: tuple[int, int, int], seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def _keys(n: int, seed: int = 0) -> npt.NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


def _train(volumes: npt.NDArray[np.uint8], protocol: str, view: int, keys: npt.NDArray[np.uint64]) -> np.ndarray:
    return preprocessing.train_view(volumes, protocol=protocol, view=view, keys=keys)


def _naive_reference(volume: np.ndarray, rows: slice, columns: slice, flip: bool) -> np.ndarray:
    """The reference study's pipeline with TensorFlow's operations, slice by slice of (height, width, depth, 1)."""
    image = tf.minimum(
        tf.cast(volume.transpose(1, 2, 0)[..., None], tf.float32) / 255.0, 0.8
    )  # height, width, depth, 1
    slices = []
    for index in range(volume.shape[0]):
        flat = image[rows, columns, index, :]
        flat = tf.image.flip_left_right(flat) if flip else flat
        slices.append(tf.image.resize(flat, volume.shape[1:], method="bilinear", antialias=False))
    return tf.stack(slices).numpy()  # depth, height, width, 1


def _all_crops_at_256(volume: np.ndarray) -> np.ndarray:
    """Every training crop that the reference study can draw of a one-slice scan: (flip, y, x, 256, 256)."""
    image = tf.minimum(tf.cast(volume[0, ..., None], tf.float32) / 255.0, 0.8)
    out = np.empty((2, 16, 16, 256, 256), np.float32)
    for y in range(16):
        crops = tf.stack([image[50 + y : 190 + y, 50 + x : 190 + x] for x in range(16)])
        out[0, y] = tf.image.resize(crops, (256, 256))[..., 0]
        out[1, y] = tf.image.resize(tf.image.flip_left_right(crops), (256, 256))[..., 0]
    return out


def test_reference_test_view_at_256() -> None:
    scans = _scans(2, (3, 256, 256))
    view = preprocessing.test_view(scans, protocol=REFERENCE)
    assert view.shape == (2, 3, 256, 256, 1)
    assert view.dtype == np.float32
    for scan, image in zip(scans, view, strict=True):
        naive = _naive_reference(scan, slice(50, -50), slice(50, -50), False)
        np.testing.assert_allclose(image, naive, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("y", "x", "flip"), [(0, 0, False), (15, 0, True), (3, 15, False), (15, 15, True)])
def test_reference_train_view_at_256(y: int, x: int, flip: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, columns = slice(50 + y, y + 240 - 50), slice(50 + x, x + 240 - 50)
    monkeypatch.setattr(preprocessing, "_training_crop", lambda height, width, rng: (rows, columns, flip))
    scans = _scans(1, (4, 256, 256), seed=y)
    naive = _naive_reference(scans[0], rows, columns, flip)
    np.testing.assert_allclose(_train(scans, REFERENCE, 0, _keys(1))[0], naive, atol=1e-5, rtol=0)


def test_reference_train_view_is_one_of_the_512_that_the_study_can_draw() -> None:
    scan = _scans(1, (1, 256, 256))
    crops = _all_crops_at_256(scan[0])
    drawn = set()
    for view in range(4):
        image = _train(scan, REFERENCE, view, _keys(1))[0, 0, :, :, 0]
        # The centre alone tells the crops apart; the one that fits there must fit everywhere.
        near = np.argwhere(abs(crops[..., 120:136, 120:136] - image[120:136, 120:136]).max(axis=(3, 4)) < 1e-5)
        assert len(near) == 1
        np.testing.assert_allclose(image, crops[tuple(near[0])], atol=1e-5, rtol=0)
        drawn.add(tuple(near[0]))
    assert len(drawn) > 1


def test_reference_draws_every_offset_and_flip_and_no_other() -> None:
    rng = np.random.default_rng(0)
    crops = [preprocessing._training_crop(256, 256, rng) for _ in range(1000)]
    for axis in (0, 1):
        assert {crop[axis].start for crop in crops} == set(range(50, 66))
        assert {crop[axis].stop - crop[axis].start for crop in crops} == {140}
    assert 400 < sum(crop[2] for crop in crops) < 600


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 48), (96, 224), (8, 40)])
def test_reference_crops_scale_in_proportion(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    crops = [preprocessing._training_crop(height, width, rng) for _ in range(500)]
    for axis, edge in enumerate((height, width)):
        starts = {crop[axis].start for crop in crops}
        assert all(abs(crop[axis].stop - crop[axis].start - 140 / 256 * edge) <= 0.5 for crop in crops)
        assert all(0 <= crop[axis].start < crop[axis].stop <= edge for crop in crops)
        assert abs(min(starts) - 50 / 256 * edge) <= 1
        assert abs(len(starts) - 16 / 256 * edge) <= 0.5 or starts == {min(starts)}
        central = preprocessing._central(edge)
        assert abs(central.stop - central.start - 156 / 256 * edge) <= 0.5
        assert abs((edge - central.stop) - central.start) <= 1


def test_reference_at_another_size_keeps_the_axes_apart() -> None:
    scan = _scans(1, (2, 64, 48))
    view = preprocessing.test_view(scan, protocol=REFERENCE)[0]
    naive = _naive_reference(scan[0], slice(12, 51), slice(9, 38), False)
    np.testing.assert_allclose(view, naive, atol=1e-5, rtol=0)
    rows, columns, flip = slice(13, 48), slice(10, 36), True
    image = np.empty((2, 64, 48), np.float32)
    preprocessing._zoom(scan[0], rows, columns, flip=flip, out=image)
    np.testing.assert_allclose(image[..., None], _naive_reference(scan[0], rows, columns, flip), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("source", "target"), [(140, 256), (156, 256), (35, 64), (39, 64), (5, 8), (1, 4), (7, 7), (9, 4)]
)
def test_interpolation_is_tensorflows(source: int, target: int) -> None:
    signal = np.random.default_rng(0).random((1, source)).astype(np.float32)
    near, far, share = preprocessing._interpolation(source, target)
    ours = signal[:, near] * (1 - share) + signal[:, far] * share
    theirs = tf.image.resize(signal[..., None], (1, target)).numpy()[..., 0]
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)


def test_reference_cuts_off_at_four_fifths() -> None:
    white = np.full((1, 2, 32, 32), 255, np.uint8)
    assert preprocessing.test_view(white, protocol=REFERENCE).max() == np.float32(0.8)
    assert preprocessing.test_view(white, protocol=STANDARD).min() == 1.0
    grey = np.full((1, 2, 32, 32), 102, np.uint8)
    np.testing.assert_allclose(_train(grey, REFERENCE, 0, _keys(1)), 0.4, atol=1e-6)


def test_standard_first_view_is_the_test_view() -> None:
    scans = _scans(3, (3, 32, 48))
    test = preprocessing.test_view(scans, protocol=STANDARD)
    assert test.shape == (3, 3, 32, 48, 1)
    assert test.dtype == np.float32
    np.testing.assert_array_equal(test[..., 0], scans.astype(np.float32) / 255)
    np.testing.assert_array_equal(_train(scans, STANDARD, 0, _keys(3)), test)


def _naive_standard(volume: np.ndarray, flip: bool, y: int, x: int) -> np.ndarray:
    depth, height, width = volume.shape
    out = np.empty(volume.shape, np.float32)
    for d, row, column in itertools.product(range(depth), range(height), range(width)):
        source = width - 1 - column if flip else column
        at_y, at_x = min(max(row + y, 0), height - 1), min(max(source + x, 0), width - 1)
        out[d, row, column] = np.float32(volume[d, at_y, at_x]) / np.float32(255)
    return out


def test_standard_later_views_are_flips_and_shifts_of_at_most_a_sixteenth() -> None:
    scan = _scans(1, (2, 32, 48))
    moves = list(itertools.product((False, True), range(-2, 3), range(-3, 4)))
    naive = np.stack([_naive_standard(scan[0], *move) for move in moves])
    drawn: list[int] = []
    for view in range(1, 600):
        image = _train(scan, STANDARD, view, _keys(1))[0, ..., 0]
        fits = np.flatnonzero((naive[:, 0, 12:20, 20:28] == image[0, 12:20, 20:28]).all(axis=(1, 2)))
        assert len(fits) == 1, "the view is none of the moves allowed"
        np.testing.assert_array_equal(image, naive[fits[0]])
        drawn.append(int(fits[0]))
    assert set(drawn) == set(range(len(moves))), "every move is drawn sooner or later"


def test_standard_does_not_move_what_is_too_small_to_move() -> None:
    scan = _scans(1, (2, 8, 12))
    plain = preprocessing.test_view(scan, protocol=STANDARD)[0]
    for view in range(1, 9):
        image = _train(scan, STANDARD, view, _keys(1))[0]
        assert (image == plain).all() or (image == plain[:, :, ::-1]).all()


@pytest.mark.parametrize("protocol", [STANDARD, REFERENCE])
def test_a_view_depends_on_the_scan_and_the_view_not_on_the_batch(protocol: str) -> None:
    scans, keys = _scans(7, (3, 32, 48)), _keys(7)
    whole = _train(scans, protocol, 2, keys)
    order = np.array([6, 2, 3, 0])
    np.testing.assert_array_equal(_train(scans[order], protocol, 2, keys[order]), whole[order])
    np.testing.assert_array_equal(_train(scans[4:5], protocol, 2, keys[4:5]), whole[4:5])
    assert (_train(scans, protocol, 1, keys) != whole).any()
    assert (_train(scans, protocol, 2, keys[::-1].copy()) != whole).any()


@pytest.mark.parametrize("protocol", [STANDARD, REFERENCE])
def test_no_scans_no_views(protocol: str) -> None:
    scans = _scans(0, (3, 32, 48))
    assert preprocessing.test_view(scans, protocol=protocol).shape == (0, 3, 32, 48, 1)
    assert _train(scans, protocol, 1, _keys(0)).shape == (0, 3, 32, 48, 1)


def test_keys_come_from_the_content(tmp_path: Path) -> None:
    cohort = write_tiny(tmp_path / "cohort")
    rows = np.array([5, 0, 23])
    keys = view_keys(cohort, rows)
    assert keys.dtype == np.uint64
    assert [f"{key:016x}" for key in keys] == [cohort.manifest["sha256"][row][:16] for row in rows]
    assert len(set(view_keys(cohort, np.arange(24)))) == 24
    assert view_keys(cohort, np.array([], dtype=np.int64)).shape == (0,)


@pytest.mark.parametrize(
    "volumes",
    [np.zeros((1, 3, 32, 48), np.float32), np.zeros((3, 32, 48), np.uint8), np.zeros((1, 3, 32, 48, 1), np.uint8)],
)
def test_other_volumes_are_refused(volumes: np.ndarray) -> None:
    with pytest.raises(CohortError) as caught:
        preprocessing.test_view(volumes, protocol=STANDARD)
    one_clear_line(caught.value, "uint8 (scan, depth, height, width)")


@pytest.mark.parametrize("keys", [_keys(3), np.array([1, 2])])
def test_other_keys_are_refused(keys: np.ndarray) -> None:
    with pytest.raises(CohortError) as caught:
        _train(_scans(2, (3, 32, 48)), STANDARD, 1, keys)
    one_clear_line(caught.value, "view_keys")


def test_unknown_protocol_and_negative_view() -> None:
    with pytest.raises(ConfigError) as caught:
        preprocessing.test_view(_scans(1, (3, 32, 48)), protocol="2023")
    one_clear_line(caught.value, "'2023'", "standard, flprivacy-2023")
    with pytest.raises(ConfigError) as caught:
        _train(_scans(1, (3, 32, 48)), STANDARD, -1, _keys(1))
    one_clear_line(caught.value, "view", "-1")
