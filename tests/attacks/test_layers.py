import keras
import numpy as np
import pytest

from flprivacy.attacks.layers import StackedDense, StackedNormalization

LEAD, SCANS, WIDTH, UNITS = (2, 3, 4), 11, 5, 7
HEADS = list(np.ndindex(LEAD))


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(3, 2, (*LEAD, SCANS, WIDTH)).astype("f4")


def test_stacked_dense_is_a_dense_layer_per_head(x):
    layer = StackedDense(LEAD, UNITS)
    layer.build(x.shape)
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    y = np.asarray(layer(x))
    for head in HEADS:
        plain = keras.layers.Dense(UNITS)
        plain.build((None, WIDTH))
        plain.set_weights([np.asarray(layer.kernel)[head], np.asarray(layer.bias)[head][0]])
        np.testing.assert_allclose(y[head], plain(x[head]), rtol=1e-5, atol=1e-5)


def _plain_normalization(layer, head):
    plain = keras.layers.BatchNormalization()
    plain.build((None, WIDTH))
    plain.gamma.assign(np.asarray(layer.gamma)[head][0])
    plain.beta.assign(np.asarray(layer.beta)[head][0])
    return plain


@pytest.fixture
def normalization(x):
    layer = StackedNormalization(LEAD)
    layer.build(x.shape)
    rng = np.random.default_rng(2)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def test_in_training_statistics_are_the_batchs_as_in_keras(x, normalization):
    y = np.asarray(normalization(x, x))
    for head in HEADS:
        plain = _plain_normalization(normalization, head)
        np.testing.assert_allclose(y[head], plain(x[head], training=True), rtol=1e-4, atol=1e-5)


def test_in_scoring_statistics_are_the_reference_samples(x, normalization):
    reference = np.random.default_rng(3).normal(1, 4, (*LEAD, 29, WIDTH)).astype("f4")
    y = np.asarray(normalization(x, reference))
    for head in HEADS:
        plain = _plain_normalization(normalization, head)
        plain.moving_mean.assign(reference[head].mean(0))
        plain.moving_variance.assign(reference[head].var(0))
        np.testing.assert_allclose(y[head], plain(x[head], training=False), rtol=1e-4, atol=1e-5)


def test_input_shared_by_the_heads_is_normalised_for_each(x, normalization):
    shared = x[:, :1, :1]
    y = np.asarray(normalization(shared, shared))
    assert y.shape == x.shape
    full = np.broadcast_to(shared, x.shape)
    np.testing.assert_allclose(y, normalization(full, full), rtol=1e-5, atol=1e-6)
