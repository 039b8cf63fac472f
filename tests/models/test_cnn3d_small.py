import keras
import numpy as np
import pytest
from architecture_examples import naive_conv, naive_group_norm, randomise, scans, tensors

from flprivacy.models.cnn3d_small import EPSILON, GROUPS
from flprivacy.models.registry import build

SHAPE = (5, 16, 22)


@pytest.fixture(scope="module")
def model():
    model = build("cnn3d_small", shape=SHAPE, n_classes=3, seed=0)
    randomise(model.model)
    return model


def naive_trunk(x, t):
    """One scan (depth, height, width, 1)."""

    def norm_conv(x, name, strides):
        x = naive_conv(x, t[f"{name}_conv/kernel"], strides)
        return naive_group_norm(x, t[f"{name}_norm/gamma"], t[f"{name}_norm/beta"], GROUPS, EPSILON)

    x = 4.0 * x.astype(np.float64) - 1.0
    x = np.maximum(naive_conv(x, t["stem_conv/kernel"], (2, 2, 2), t["stem_conv/bias"]), 0.0)
    for number in (1, 2, 3):
        x = np.maximum(norm_conv(x, f"block{number}_down", (2, 2, 2)), 0.0)
        x = np.maximum(x + norm_conv(x, f"block{number}_residual", (1, 1, 1)), 0.0)
    return np.concatenate([x.mean(axis=(0, 1, 2)), np.sqrt(x.var(axis=(0, 1, 2)) + EPSILON)])


def test_features_equal_the_naive_reference(model):
    x = scans(SHAPE)
    features = np.asarray(model.trunk(x))
    assert features.shape == (2, 128)
    for scan, row in zip(x, features):
        np.testing.assert_allclose(row, naive_trunk(scan, tensors(model.trunk)), rtol=1e-3, atol=1e-4)


def test_probabilities_equal_the_naive_reference(model):
    x, t = scans(SHAPE), tensors(model.head)
    logits = np.asarray(model.trunk(x), dtype=np.float64) @ t["head_logits/kernel"] + t["head_logits/bias"]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(model.model(x)), expected, rtol=1e-4, atol=1e-6)


def test_parameter_count_is_analytic(model):
    def block(inputs, filters):  # two convolutions without bias, two normalisations of two vectors
        return 27 * (inputs * filters + filters * filters) + 4 * filters

    trunk = 27 * 8 + 8 + block(8, 16) + block(16, 32) + block(32, 64)
    assert model.trunk.count_params() == trunk == 218_400
    assert model.head.count_params() == 128 * 3 + 3


def test_no_scan_sees_another_and_training_draws_nothing(model):
    x = scans(SHAPE, n=3)
    together = np.asarray(model.model(x, training=True))
    alone = np.concatenate([np.asarray(model.model(x[i : i + 1], training=False)) for i in range(3)])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)


def test_gradients_are_finite_where_every_map_is_constant():
    """The last map of the smallest scan is one voxel, whose standard deviation is 0."""
    model = build("cnn3d_small", shape=(4, 16, 16), n_classes=2, seed=0)
    model.model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.model.train_on_batch(np.zeros((2, 4, 16, 16, 1), np.float32), np.array([0, 1]))
    assert all(np.isfinite(np.asarray(w)).all() for w in model.model.weights)


def test_it_learns_a_patch_wherever_it_is():
    generator = np.random.default_rng(0)
    x = generator.normal(0.3, 0.05, (256, 5, 16, 20, 1)).astype(np.float32)
    y = generator.integers(0, 3, 256)
    for scan, label in zip(x, y):
        h, w = generator.integers(0, 9), generator.integers(0, 13)
        scan[1:4, h : h + 6, w : w + 6] += (0.0, 0.4, -0.25)[label]  # 108 of 1600 voxels, anywhere
    model = build("cnn3d_small", shape=(5, 16, 20), n_classes=3, seed=0).model
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    for _ in range(6):
        for start in range(0, 192, 16):
            model.train_on_batch(x[start : start + 16], y[start : start + 16])
    assert model.evaluate(x[192:], y[192:], batch_size=64, verbose=0)[1] >= 0.9
