import numpy as np
import pytest
from architecture_examples import naive_conv, naive_max_pool, randomise, scans, tensors

from flprivacy.models.registry import build

SHAPE = (9, 32, 40)  # an odd depth, so that a permuted axis or a padded pooling shows


@pytest.fixture(scope="module")
def model():
    model = build("cnn3d", shape=SHAPE, n_classes=3, seed=0)
    randomise(model.model)
    return model


def naive_trunk(x, t):
    """One scan (depth, height, width, 1) through the reference study's network, written from its description."""
    x = np.transpose(x.astype(np.float64), (1, 2, 0, 3))  # (height, width, depth, 1)

    def relu_conv(x, name):
        return np.maximum(naive_conv(x, t[f"{name}/kernel"], (1, 1, 1), t.get(f"{name}/bias")), 0.0)

    def pool_norm(x, size, name):
        x = naive_max_pool(x, size)
        mean, variance = t[f"{name}/moving_mean"], t[f"{name}/moving_variance"]
        return (x - mean) / np.sqrt(variance + 1e-3) * t[f"{name}/gamma"] + t[f"{name}/beta"]

    x = pool_norm(relu_conv(x, "stem_conv"), (2, 2, 1), "stem_bn")
    for number, size in ((1, (2, 2, 1)), (2, (2, 2, 2)), (3, (2, 2, 2))):
        first = relu_conv(x, f"block{number}_conv1")
        x = relu_conv(relu_conv(first, f"block{number}_conv2"), f"block{number}_conv3") + first
        x = pool_norm(x, size, f"block{number}_bn")
    return np.maximum(x.mean(axis=(0, 1, 2)) @ t["dense/kernel"] + t["dense/bias"], 0.0)


def test_features_equal_the_naive_reference(model):
    x = scans(SHAPE, n=1)
    features = np.asarray(model.trunk(x))
    assert features.shape == (1, 128)
    np.testing.assert_allclose(features[0], naive_trunk(x[0], tensors(model.trunk)), rtol=1e-4, atol=1e-4)


def test_parameter_count_is_analytic(model):
    def block(inputs, filters):  # three convolutions without bias, one normalisation of four vectors
        return 27 * (inputs * filters + 2 * filters * filters) + 4 * filters

    stem = 27 * 16 + 16 + 4 * 16
    trunk = stem + block(16, 16) + block(16, 32) + block(32, 64) + 64 * 128 + 128
    assert model.trunk.count_params() == trunk == 375_616
    assert model.head.count_params() == 128 * 3 + 3
