import numpy as np
import pytest

from flprivacy.attacks.baselines import block_means, histogram, pixel_forward, spectrum, textures

SHAPE = (5, 12, 18)


@pytest.fixture
def volumes():
    return np.random.default_rng(0).uniform(0, 0.8, (3, *SHAPE)).astype("f4")


def test_block_means_are_means_of_blocks(volumes):
    cells = block_means(volumes, (2, 3, 6)).reshape(3, 2, 3, 6)
    np.testing.assert_allclose(cells[1, 0, 2, 5], volumes[1, :2, 8:, 15:].mean(), rtol=1e-5)
    np.testing.assert_allclose(cells[1, 1, 0, 1], volumes[1, 2:, :4, 3:6].mean(), rtol=1e-5)


def test_blocks_are_not_smaller_than_a_voxel(volumes):
    assert block_means(volumes, (8, 12, 9)).shape == (3, 5 * 12 * 9)


def test_histogram_counts_shares(volumes):
    volumes[2] = 0.3
    shares = np.exp(histogram(volumes, 10)) - 1e-4
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    assert shares[2, 3] == pytest.approx(1)
    expected = np.histogram(volumes[0], bins=10, range=(0, 1))[0] / volumes[0].size
    np.testing.assert_allclose(shares[0], expected, atol=1e-6)


def test_textures_tell_axes_apart_and_grow_with_noise():
    ramp = np.broadcast_to(np.linspace(0, 1, SHAPE[1], dtype="f4")[None, None, :, None], (1, *SHAPE))
    energies = textures(ramp)[0]
    everywhere = energies.reshape(-1)[[4, 16, 28]]  # first differences along depth, height, width
    assert everywhere[1] == pytest.approx(np.log(1 / (SHAPE[1] - 1) + 1e-6), rel=1e-3)
    assert everywhere[0] == everywhere[2] == pytest.approx(np.log(1e-6))
    rng = np.random.default_rng(1)
    noisy = (ramp + rng.normal(0, 0.05, ramp.shape)).clip(0, 1).astype("f4")
    assert textures(noisy)[0][4] > everywhere[0] + 3


def test_spectrum_finds_a_waves_frequency():
    wave = 0.5 + 0.4 * np.sin(2 * np.pi * 3 * np.arange(32) / 32)  # 3/32 of the sampling frequency
    volume = np.broadcast_to(wave.astype("f4"), (1, 2, 32, 32))
    rings = spectrum(volume, 16)[0]
    assert rings[1:].argmax() + 1 == int(3 / 32 / 0.5 * 16)


def test_features_of_a_scan_do_not_depend_on_its_batch(volumes):
    inputs = volumes[..., None]
    together = pixel_forward(inputs)["features"]
    alone = np.concatenate([pixel_forward(inputs[i : i + 1])["features"] for i in range(3)])
    np.testing.assert_array_equal(together, alone)
    assert np.isfinite(together).all()
    assert np.isfinite(pixel_forward(np.zeros((1, 8, 32, 32, 1), "f4"))["features"]).all()
