import keras
import numpy as np
import pytest

from flprivacy.synthesis.augmentation import augment, draw
from flprivacy.synthesis.config import AUGMENTATIONS

SHAPE = (4, 32, 48)
SCANS = np.random.default_rng(0).uniform(-1.0, 1.0, (6, *SHAPE, 1)).astype(np.float32)


def augmented(*names: str, seed: int = 1) -> np.ndarray:
    return np.asarray(augment(SCANS, draw(names, len(SCANS), SHAPE, np.random.default_rng(seed))))


def test_nothing_is_done_where_nothing_is_named() -> None:
    assert augmented() is SCANS or np.array_equal(augmented(), SCANS)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_changes_scans_and_is_drawn_anew(name: str) -> None:
    assert np.array_equal(augmented(name), augmented(name))
    assert np.abs(augmented(name) - SCANS).max() > 0.01
    assert not np.array_equal(augmented(name), augmented(name, seed=2))


def test_a_shift_moves_lines_and_lets_air_in() -> None:
    moved = augmented("shift")
    for scan, found in zip(SCANS[..., 0], moved[..., 0], strict=True):
        fits = []
        for down in range(-2, 3):
            for right in range(-3, 4):
                wanted = np.full_like(scan, -1.0)
                rows, columns = np.arange(32), np.arange(48)
                inside = np.ix_(
                    range(4),
                    rows[(rows - down >= 0) & (rows - down < 32)],
                    columns[(columns - right >= 0) & (columns - right < 48)],
                )
                wanted[inside] = scan[inside[0], inside[1] - down, inside[2] - right]
                fits.append(np.allclose(wanted, found, atol=1e-5))
        assert sum(fits) == 1


def test_contrast_brightness_and_cutout_are_what_they_are_called() -> None:
    ratio = augmented("contrast") / SCANS
    assert np.ptp(ratio.reshape(6, -1), axis=1) == pytest.approx(0.0, abs=1e-3)
    added = augmented("brightness") - SCANS
    assert np.ptp(added.reshape(6, -1), axis=1) == pytest.approx(0.0, abs=1e-5)
    cut = np.abs(augmented("cutout") - SCANS) > 1e-3
    assert augmented("cutout")[cut] == pytest.approx(-1.0)
    assert 0.0 < cut.mean() < 0.1


def test_a_gradient_goes_through() -> None:
    import tensorflow as tf

    draws = draw(AUGMENTATIONS, len(SCANS), SHAPE, np.random.default_rng(1))
    with tf.GradientTape() as tape:
        scans = tf.Variable(SCANS)
        total = keras.ops.sum(augment(scans, draws))
    slope = tape.gradient(total, scans).numpy()
    assert np.isfinite(slope).all()
    assert (slope != 0.0).mean() > 0.6
