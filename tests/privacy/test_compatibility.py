import keras
import numpy as np
import pytest

from flprivacy.core.errors import TrainingError
from flprivacy.models.registry import ARCHITECTURES, build
from flprivacy.privacy.compatibility import freeze_batch_normalization, validate
from tests.privacy.small_networks import SHAPE, batch, network


def test_networks_that_keep_the_promise_pass():
    for norm in ("group", "none"):
        validate(network(norm=norm, dropout=0.5))


def test_batch_norm_is_refused_with_reason_and_remedy():
    with pytest.raises(TrainingError) as refusal:
        validate(network(norm="batch"))
    message = str(refusal.value)
    for part in ("'bn'", "without noise", "freeze", "GroupNormalization"):
        assert part in message
    assert "\n" not in message


def test_frozen_batch_norm_passes_and_stays_as_it_is():
    model = network(norm="batch")
    assert freeze_batch_normalization(model) == 1
    assert freeze_batch_normalization(model) == 0
    validate(model)
    before = [np.array(w) for w in model.non_trainable_weights]
    x, _ = batch(4)
    model(x + 5.0, training=True)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.non_trainable_weights, strict=True))


def test_batch_norm_inside_other_models_is_found():
    inner = network(norm="batch")
    scan = keras.Input((*SHAPE, 1))
    with pytest.raises(TrainingError, match="BatchNormalization that trains"):
        validate(keras.Model(scan, inner(scan)))
    frames = keras.layers.TimeDistributed(keras.layers.BatchNormalization(name="inner_bn"))(scan)
    pooled = keras.layers.GlobalAveragePooling3D()(frames)
    with pytest.raises(TrainingError, match="BatchNormalization that trains"):
        validate(keras.Model(scan, keras.layers.Dense(3, activation="softmax")(pooled)))


class RunningMean(keras.layers.Layer):
    """A layer of the user's own that remembers its inputs."""

    def build(self, input_shape):
        self.mean = self.add_weight(shape=(), initializer="zeros", trainable=False, name="mean")

    def call(self, inputs, training=False):
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * keras.ops.mean(inputs))
        return inputs - self.mean


def with_layer(layer):
    scan = keras.Input((*SHAPE, 1))
    x = keras.layers.Flatten()(layer(scan))
    return keras.Model(scan, keras.layers.Dense(3, activation="softmax")(x))


def test_a_layer_that_remembers_scans_is_found_by_what_it_does():
    model = with_layer(RunningMean(name="memory"))
    with pytest.raises(TrainingError, match="changes in a forward pass in training mode"):
        validate(model)
    # The check itself left no trace.
    assert float(model.get_layer("memory").mean) == 0.0


@pytest.mark.parametrize("regulariser", ["kernel_regularizer", "bias_regularizer", "activity_regularizer"])
def test_losses_of_the_networks_own_are_refused(regulariser):
    layer = keras.layers.Dense(2, name="heavy", **{regulariser: keras.regularizers.L2(1e-3)})
    with pytest.raises(TrainingError, match=f"'heavy' has a {regulariser}.*weight_decay"):
        validate(with_layer(layer))


def test_nothing_to_train_is_refused():
    model = network()
    model.trainable = False
    with pytest.raises(TrainingError, match="no trainable variable"):
        validate(model)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_registered_architectures(architecture):
    parts = ARCHITECTURES[architecture]
    model = build(architecture, shape=parts.minimal_shape, n_classes=3, seed=0).model
    if architecture != "cnn3d_small":
        with pytest.raises(TrainingError, match="BatchNormalization"):
            validate(model)
        assert freeze_batch_normalization(model) > 0
    validate(model)
