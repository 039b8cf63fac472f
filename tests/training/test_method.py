import keras
import numpy as np
import pytest
from tiny_training import SHAPE

from flprivacy.training.config import TargetConfig
from flprivacy.training.method import Batch, compile_adam, compile_step, shuffled_batches, steps_per_epoch


@pytest.mark.parametrize(("n", "batch_size"), [(1, 4), (3, 4), (4, 4), (5, 4), (13, 4), (2, 16), (16, 1)])
def test_an_epoch_takes_every_scan_once_in_batches_of_one_size(n: int, batch_size: int) -> None:
    batches = list(shuffled_batches(n, batch_size, np.random.default_rng(1)))
    assert len(batches) == steps_per_epoch(n, batch_size) == int(np.ceil(n / batch_size))
    assert all(len(b.indices) == len(b.weights) == batch_size for b in batches)
    taken = np.concatenate([b.indices[b.weights == 1] for b in batches])
    assert sorted(taken.tolist()) == list(range(n))
    assert all(set(b.weights.tolist()) <= {0.0, 1.0} for b in batches)


def test_filling_is_of_the_clients_own_scans_evenly() -> None:
    (batch,) = shuffled_batches(3, 8, np.random.default_rng(1))
    assert np.bincount(batch.indices).max() - np.bincount(batch.indices).min() <= 1


def test_order_depends_on_the_generator_alone() -> None:
    def order(seed: int) -> list[int]:
        return np.concatenate([b.indices for b in shuffled_batches(40, 8, np.random.default_rng(seed))]).tolist()

    assert order(3) == order(3)
    assert order(3) != order(4)
    assert order(3) != list(range(40))


RNG = np.random.default_rng(3)
VOLUMES = RNG.random((5, *SHAPE, 1), dtype=np.float32)
CLASSES = np.eye(2, dtype=np.float32)[[0, 1, 1, 0, 1]]
NO_KEYS = np.empty((0, 2), dtype=np.uint64)  # only private steps use them


def whole(weights: np.ndarray) -> Batch:
    return Batch(indices=np.arange(len(weights)), weights=np.asarray(weights, dtype=np.float32))


def group_norm_network() -> keras.Model:
    scans = keras.layers.Input((*SHAPE, 1))
    x = keras.layers.Conv3D(4, 3, strides=4, kernel_initializer=keras.initializers.GlorotUniform(seed=1))(scans)
    x = keras.layers.GlobalMaxPooling3D()(keras.layers.GroupNormalization(2)(x))
    return keras.Model(
        scans, keras.layers.Dense(2, "softmax", kernel_initializer=keras.initializers.HeNormal(seed=2))(x)
    )


def sgd_gradient(volumes: np.ndarray, classes: np.ndarray, weights: np.ndarray) -> list[np.ndarray]:
    """The gradient that a step used, read off the change of the weights at learning rate 1."""
    model = group_norm_network()
    before = model.get_weights()
    compile_step(model, keras.optimizers.SGD(1.0)).run(volumes, classes, whole(weights), NO_KEYS)
    return [b - a for a, b in zip(model.get_weights(), before, strict=True)]


@pytest.mark.parametrize("filling", [[0, 1, 2], [4, 4, 4, 4, 4, 4, 4]])
def test_filling_leaves_the_gradient_exactly_that_of_the_real_scans(filling: list[int]) -> None:
    wanted = sgd_gradient(VOLUMES, CLASSES, np.ones(5, np.float32))
    order = [0, 1, 2, 3, 4, *filling]
    weights = np.array([1] * 5 + [0] * len(filling), dtype=np.float32)
    filled = sgd_gradient(VOLUMES[order], CLASSES[order], weights)
    counted = sgd_gradient(VOLUMES[order], CLASSES[order], np.ones_like(weights))
    for right, left, wrong in zip(wanted, filled, counted, strict=True):
        scale = np.abs(right).max()
        np.testing.assert_allclose(left, right, rtol=0, atol=2e-6 * scale + 1e-9)
        assert np.abs(wrong - right).max() > 1e-3 * scale  # the test would notice filling that counts


def test_loss_and_accuracy_are_those_of_the_real_scans_before_the_step() -> None:
    model = group_norm_network()
    probabilities = model.predict_on_batch(VOLUMES)[:3]
    step = compile_step(model, keras.optimizers.SGD(0.1))
    result = step.run(VOLUMES, CLASSES, whole([1, 1, 1, 0, 0]), NO_KEYS)
    assert result.loss == pytest.approx(-np.log((probabilities * CLASSES[:3]).sum(axis=1)).mean(), rel=1e-5)
    assert result.accuracy == pytest.approx((probabilities.argmax(1) == [0, 1, 1]).mean())


def test_adams_first_step_moves_every_weight_by_the_learning_rate_against_its_gradient() -> None:
    gradient = sgd_gradient(VOLUMES, CLASSES, np.ones(5, np.float32))
    model = group_norm_network()
    before = model.get_weights()
    step = compile_adam(model, TargetConfig(topology="central", learning_rate=0.01))
    step.run(VOLUMES, CLASSES, whole(np.ones(5)), NO_KEYS)
    for after, start, slope in zip(model.get_weights(), before, gradient, strict=True):
        clear = np.abs(slope) > 1e-4
        np.testing.assert_allclose((start - after)[clear], 0.01 * np.sign(slope[clear]), rtol=2e-2)


class Counting(keras.layers.Layer):
    """Its Python runs when a step is traced and not when it is run."""

    traced = 0

    def call(self, inputs):
        Counting.traced += 1
        return inputs


def test_the_step_is_traced_once() -> None:
    scans = keras.layers.Input((*SHAPE, 1))
    model = keras.Model(scans, keras.layers.Dense(2, "softmax")(keras.layers.Flatten()(Counting()(scans))))
    step = compile_adam(model, TargetConfig(topology="central"))
    step.run(VOLUMES, CLASSES, whole(np.ones(5)), NO_KEYS)
    traced = Counting.traced
    for weights in ([1, 1, 1, 1, 1], [1, 0, 0, 0, 0], [1, 1, 1, 0, 0]):
        model.set_weights(model.get_weights())
        step.run(VOLUMES, CLASSES, whole(weights), NO_KEYS)
    assert Counting.traced == traced > 0
