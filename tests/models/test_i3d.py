import keras
import numpy as np
import pytest
from architecture_examples import scans

from flprivacy.models.i3d import i3d_trunk
from flprivacy.models.registry import build

# (inputs, outputs, kernel width) of every convolution of Inception-v1, from table 1 of arXiv:1409.4842, in the order
# 1x1; 3x3 reduce, 3x3; double 3x3 (5x5 in the table) reduce, double 3x3; pool projection.
BLOCKS = {
    "3b": (192, 64, 96, 128, 16, 32, 32),
    "3c": (256, 128, 128, 192, 32, 96, 64),
    "4b": (480, 192, 96, 208, 16, 48, 64),
    "4c": (512, 160, 112, 224, 24, 64, 64),
    "4d": (512, 128, 128, 256, 24, 64, 64),
    "4e": (512, 112, 144, 288, 32, 64, 64),
    "4f": (528, 256, 160, 320, 32, 128, 128),
    "5b": (832, 256, 160, 320, 32, 128, 128),
    "5c": (832, 384, 192, 384, 48, 128, 128),
}
PARTS = ("0a_1x1", "1a_1x1", "1b_3x3", "2a_1x1", "2b_3x3", "3b_1x1")


def expected_kernels():
    kernels = {
        "Conv3d_1a_7x7": (7, 7, 7, 3, 64),
        "Conv3d_2b_1x1": (1, 1, 1, 64, 64),
        "Conv3d_2c_3x3": (3, 3, 3, 64, 192),
    }
    for block, (inputs, plain, wide_in, wide, narrow_in, narrow, pooled) in BLOCKS.items():
        pairs = [
            (inputs, plain),
            (inputs, wide_in),
            (wide_in, wide),
            (inputs, narrow_in),
            (narrow_in, narrow),
            (inputs, pooled),
        ]
        for part, pair in zip(PARTS, pairs):
            width = int(part[-1])
            kernels[f"Conv3d_{block}_{part}"] = (width, width, width, *pair)
    return kernels


@pytest.fixture(scope="module")
def small():
    return build("i3d", shape=(8, 32, 40), n_classes=3, seed=0)


@pytest.fixture(scope="module")
def full():
    """The reference study's size."""
    return build("i3d", shape=(24, 256, 256), n_classes=3, seed=0)


def test_tensors_bear_the_names_and_shapes_of_the_public_weights(small):
    expected = {}
    for name, kernel in expected_kernels().items():
        expected[f"{name}_conv/kernel"] = kernel
        for part in ("beta", "moving_mean", "moving_variance"):  # no gamma: scale=False
            expected[f"{name}_bn/{part}"] = kernel[-1:]
    assert {w.path: tuple(w.shape) for w in small.trunk.weights} == expected


def test_parameter_count_is_the_published_one(small):
    channels = sum(kernel[-1] for kernel in expected_kernels().values())
    # The public PyTorch port with 400 classes has 12,697,264 parameters: 1024 * 400 + 400 of them are logits, and
    # each normalisation has gamma and beta; ours has beta and two moving averages.
    assert small.trunk.count_params() == 12_697_264 - (1024 * 400 + 400) + channels == 12_294_544


def test_normalisation_is_the_reference_studys(small):
    layers = [layer for layer in small.trunk.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(layers) == 57
    assert {(layer.epsilon, layer.momentum, layer.scale, layer.center) for layer in layers} == {
        (1e-3, 0.99, False, True)
    }


def test_at_the_references_size_the_last_map_is_three_deep_and_features_are_1024(full):
    assert full.trunk.get_layer("Mixed_5c").output.shape == (None, 3, 8, 8, 1024)
    assert full.trunk.output_shape == (None, 1024)
    probabilities = np.asarray(full.model(scans((24, 256, 256), n=1)))
    assert probabilities.shape == (1, 3)
    assert np.isfinite(probabilities).all()


@pytest.mark.parametrize(
    ("depth", "weights"),
    [(8, [1.0]), (16, [0.5, 0.5]), (24, [0.25, 0.5, 0.25]), (32, [1 / 6, 1 / 3, 1 / 3, 1 / 6])],
)
def test_pooling_weighs_depth_as_the_reference_does(depth, weights):
    trunk = i3d_trunk((depth, 33, 64))
    last = keras.Model(trunk.input, trunk.get_layer("Mixed_5c").output)
    x = scans((depth, 33, 64), n=2)
    maps = np.asarray(last(x), dtype=np.float64)
    assert maps.shape == (2, len(weights), 2, 2, 1024)
    expected = np.einsum("ndhwc,d->nc", maps, weights) / (2 * 2)
    np.testing.assert_allclose(np.asarray(trunk(x)), expected, rtol=1e-4, atol=1e-6)


def test_one_grey_channel_is_seen_three_times(small):
    x = scans((8, 32, 40))
    stem = small.trunk.get_layer("Conv3d_1a_7x7_conv")
    inside = keras.Model(small.trunk.input, stem.output)
    np.testing.assert_allclose(np.asarray(inside(x)), np.asarray(stem(np.repeat(x, 3, axis=-1))), rtol=1e-5, atol=1e-6)
