import keras
import numpy as np
import pytest
from architecture_examples import tensors
from keras import layers

from flprivacy.models.initialisation import fresh_weights, initialise
from flprivacy.models.registry import build


def model_of(*members, shape=(16, 16, 24)):
    x = inputs = keras.Input(shape)
    for member in members:
        x = member(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    ("layer", "variance"),
    [
        (layers.Conv2D(64, 3, kernel_initializer="he_uniform", name="a"), 2 / (9 * 24)),
        (layers.Conv2D(64, 3, kernel_initializer="lecun_uniform", name="b"), 1 / (9 * 24)),
        (layers.Conv2D(64, 3, name="c"), 2 / (9 * 24 + 9 * 64)),  # Glorot
        (layers.Dense(500, name="d"), 2 / (24 + 500)),
    ],
)
def test_kernels_have_the_variance_and_bounds_of_their_initializer(layer, variance):
    model = model_of(layer)
    initialise(model, 0)
    values = tensors(model)[f"{layer.name}/kernel"]
    limit = np.sqrt(3 * variance)
    np.testing.assert_allclose(values.var(), variance, rtol=0.03)
    assert abs(values.mean()) < 4 * np.sqrt(variance / values.size)
    assert 0.99 * limit < np.abs(values).max() <= limit * (1 + 1e-6)


def test_draws_follow_kerass_own_law():
    """The same bounds as the initializer that the layer names, drawn by Keras itself."""
    layer = layers.Conv3D(32, 3, kernel_initializer="he_uniform", name="kernelled")
    model = model_of(layer, shape=(4, 4, 4, 16))
    drawn_by_keras = np.abs(tensors(model)["kernelled/kernel"]).max()
    initialise(model, 0)
    np.testing.assert_allclose(np.abs(tensors(model)["kernelled/kernel"]).max(), drawn_by_keras, rtol=0.01)


def test_the_rest_starts_at_zero_or_one():
    model = model_of(layers.Dense(3, name="dense"), layers.BatchNormalization(name="norm"))
    for weight in model.weights:
        weight.assign(np.full(weight.shape, 7.0))
    initialise(model, 0)
    values = tensors(model)
    assert all((values[f"norm/{name}"] == 1).all() for name in ("gamma", "moving_variance"))
    assert all((values[name] == 0).all() for name in ("norm/beta", "norm/moving_mean", "dense/bias"))


def test_a_tensor_depends_on_its_path_not_on_its_place():
    one = model_of(layers.Dense(24, name="first"), layers.Dense(24, name="second"))
    other = model_of(layers.Dense(24, name="second"), layers.Dense(24, name="first"))
    initialise(one, 4)
    initialise(other, 4)
    np.testing.assert_array_equal(tensors(one)["first/kernel"], tensors(other)["first/kernel"])
    assert not np.array_equal(tensors(one)["first/kernel"], tensors(one)["second/kernel"])


def test_depthwise_kernels_keep_the_signals_variance():
    """Each output of a depthwise kernel sees 3 x 3 inputs, so He's variance is 2 / 9 whatever the channels."""
    values = tensors(build("slices2d", shape=(1, 32, 32), n_classes=3, seed=0).trunk)
    np.testing.assert_allclose(values["block_16_depthwise/kernel"].var(), 2 / 9, rtol=0.05)
    np.testing.assert_allclose(values["block_16_expand/kernel"].var(), 2 / 160, rtol=0.05)
    np.testing.assert_allclose(values["block_16_project/kernel"].var(), 1 / 960, rtol=0.05)


def test_an_initializer_that_nobody_thought_of_is_refused():
    with pytest.raises(TypeError, match="dense/kernel: initializer Orthogonal is not known"):
        initialise(model_of(layers.Dense(3, kernel_initializer="orthogonal", name="dense")), 0)


def test_fresh_weights_are_those_of_another_build_and_leave_the_model_alone():
    model, other = (build("cnn3d_small", shape=(4, 16, 16), n_classes=2, seed=seed).model for seed in (0, 5))
    before = model.get_weights()
    drawn = fresh_weights(model, 5)
    for ours, theirs, held, kept in zip(drawn, other.get_weights(), model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(held, kept)
    assert any((ours != held).any() for ours, held in zip(drawn, before, strict=True))
