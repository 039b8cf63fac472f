import itertools
import math

import keras
import numpy as np
import pytest

from flprivacy.models.initialisation import initialise
from flprivacy.synthesis.networks import (
    NetworkSize,
    SpectralBound,
    build_discriminator,
    build_generator,
    fake_loss,
    generator_loss,
    gradient_penalty,
    levels,
    real_loss,
)

ANISOTROPIC = NetworkSize(shape=(5, 18, 23), latent=3, conditions=4, width=4)


def networks() -> tuple[keras.Model, keras.Model]:
    """Return both networks with weights of one seed."""
    generator, discriminator = build_generator(ANISOTROPIC), build_discriminator(ANISOTROPIC)
    initialise(generator, 0)
    initialise(discriminator, 1)
    return generator, discriminator


@pytest.mark.parametrize("shape", [(16, 64, 64), (24, 256, 256), (5, 18, 23), (4, 16, 16)])
def test_levels_lead_from_voxels_to_a_coarse_grid(shape: tuple[int, int, int]) -> None:
    found = levels(NetworkSize(shape=shape, latent=8, conditions=2, width=8))
    assert found[0].grid == tuple(-(-edge // 2) for edge in shape)
    for finer, coarser in itertools.pairwise(found):
        assert coarser.grid == tuple(-(-e // f) for e, f in zip(finer.grid, coarser.factors, strict=True))
    assert max(found[-1].grid) <= 8
    assert found[-1].grid[0] <= 4


def test_full_size_builds_small_enough_to_be_trained() -> None:
    """Memory of a whole step is tests/benchmarks/bench_generator.py's."""
    size = NetworkSize(shape=(24, 256, 256), latent=64, conditions=24, width=32)
    generator, discriminator = build_generator(size), build_discriminator(size)
    assert generator.output_shape == (None, 24, 256, 256, 1)
    assert discriminator.input_shape[0] == (None, 24, 256, 256, 1)
    widest = max(math.prod(layer.output.shape[1:]) for layer in (*generator.layers, *discriminator.layers))
    assert widest * 4 < 40e6  # bytes of a scan's largest features
    assert max(generator.count_params(), discriminator.count_params()) < 20e6


def test_networks_take_any_shape_and_no_scan_looks_at_another() -> None:
    generator, discriminator = networks()
    rng = np.random.default_rng(0)
    latent, condition = (rng.normal(size=(3, k)).astype(np.float32) for k in (3, 4))
    grain = rng.normal(size=(3, 5, 18, 23, 1)).astype(np.float32)
    made = np.asarray(generator([latent, condition, grain]))
    assert made.shape == (3, 5, 18, 23, 1)
    assert np.abs(made).max() <= 1.0
    alone = np.asarray(generator([latent[1:2], condition[1:2], grain[1:2]]))
    np.testing.assert_allclose(alone[0], made[1], atol=1e-5)
    logits = np.asarray(discriminator([made, condition]))
    assert logits.shape == (3, 1)
    alone = np.asarray(discriminator([made[2:], condition[2:]]))
    np.testing.assert_allclose(alone[0], logits[2], atol=1e-5)


def test_every_input_counts() -> None:
    generator, discriminator = networks()
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(1, *shape)).astype(np.float32) for shape in ((3,), (4,), (5, 18, 23, 1))]
    made = np.asarray(generator(inputs))
    for number, given in enumerate(inputs):
        changed = np.asarray(generator([*inputs[:number], given + 1.0, *inputs[number + 1 :]]))
        assert np.abs(changed - made).max() > 1e-4
    logit = np.asarray(discriminator([made, inputs[1]]))
    assert np.asarray(discriminator([made, inputs[1] + 1.0])) != logit
    corner = made.copy()
    corner[0, -1, -1, -1] += 0.5  # the last voxel, which padding must not push out
    assert np.asarray(discriminator([corner, inputs[1]])) != logit


def test_half_precision_keeps_float32_weights_and_results() -> None:
    size = NetworkSize(shape=(4, 16, 16), latent=3, conditions=2, width=4, mixed_precision=True)
    before = keras.config.dtype_policy().name
    generator, discriminator = build_generator(size), build_discriminator(size)
    assert keras.config.dtype_policy().name == before
    for network in (generator, discriminator):
        assert {str(v.dtype) for v in network.trainable_variables} == {"float32"}
        parts = [part for part in network.layers if isinstance(part, keras.Model)] or [network]
        assert {layer.compute_dtype for part in parts for layer in part.layers if layer.weights} == {"bfloat16"}
        assert network.output.dtype == "float32"


def test_the_bound_brings_a_kernel_to_a_norm_of_one_and_leaves_a_smaller_one_alone() -> None:
    rng = np.random.default_rng(0)
    for shape in ((3, 3, 3, 2, 5), (2, 7)):
        kernel = rng.normal(size=shape).astype(np.float32)
        matrix = np.asarray(SpectralBound()(kernel)).reshape(-1, shape[-1])
        assert np.linalg.norm(matrix, 2) == pytest.approx(1.0, rel=1e-4)
        small = kernel / (2.0 * np.linalg.norm(kernel.reshape(-1, shape[-1]), 2))
        np.testing.assert_allclose(np.asarray(SpectralBound()(small)), small, rtol=1e-6)


def test_losses_are_cross_entropies() -> None:
    logits = np.array([[-2.0], [0.5]], dtype=np.float32)
    real = 1.0 / (1.0 + np.exp(-logits[:, 0].astype(np.float64)))
    np.testing.assert_allclose(real_loss(logits), -np.log(real), rtol=1e-5)
    np.testing.assert_allclose(fake_loss(logits), -np.log(1.0 - real), rtol=1e-5)
    np.testing.assert_allclose(generator_loss(logits), -np.log(real), rtol=1e-5)
    slope = np.full((2, 1, 2, 2, 1), 3.0, dtype=np.float32)
    np.testing.assert_allclose(gradient_penalty(slope), [18.0, 18.0])
