import keras
import numpy as np
import pytest
from keras import layers, ops

from flprivacy.models.registry import build
from flprivacy.privacy.compatibility import freeze_batch_normalization
from flprivacy.privacy.scan_gradients_tensorflow import GROUP, scan_gradients
from flprivacy.privacy.scan_layers_tensorflow import Taps, UnknownLayerError, tapped
from tests.privacy.small_networks import CLASSES, SHAPE, batch, naive_gradients


def model_of(*parts, shape=SHAPE):
    scan = x = keras.Input((*shape, 1))
    for part in parts:
        x = part(x)
    x = layers.Dense(CLASSES)(layers.Flatten()(x))
    return keras.Model(scan, layers.Activation("softmax")(x))


def grouped(model, x, y):
    """Return one list of arrays a scan, of scans that go through the network together."""
    import tensorflow as tf

    differentiate = scan_gradients(model, 1.0)
    assert differentiate.size == GROUP
    weights = [tf.convert_to_tensor(v.value) for v in model.trainable_variables]
    others = [tf.convert_to_tensor(v.value) for v in model.non_trainable_variables]
    # Compiled as in training.
    found = tf.function(differentiate)(weights, others, tf.constant(x), tf.constant(y)).gradients
    return [[g.numpy()[i].reshape(v.shape) for g, v in zip(found, weights, strict=True)] for i in range(len(x))]


def shared():
    layer = layers.Conv3D(1, 3, padding="same", name="twice")
    return [layer, layers.Activation("relu"), layer]


def frozen():
    convolution = layers.Conv3D(3, 2, activation="relu", name="frozen")
    norm = layers.BatchNormalization()
    convolution.trainable = norm.trainable = False
    return [convolution, norm, layers.Conv3D(2, 1)]


NETWORKS = {
    "a kernel of unequal sides, valid": [layers.Conv3D(4, (1, 2, 3), strides=(1, 1, 2))],
    "same, with strides": [layers.Conv3D(4, 3, strides=2, padding="same", use_bias=False)],
    "an even kernel, same": [layers.Conv3D(3, (2, 4, 2), strides=(1, 2, 3), padding="same", activation="relu")],
    "group norm of one group": [layers.Conv3D(4, 1), layers.GroupNormalization(1), layers.ReLU()],
    "instance norm": [layers.Conv3D(4, 1), layers.GroupNormalization(-1), layers.ReLU()],
    "pooling": [layers.Conv3D(2, 2), layers.MaxPooling3D(2), layers.Permute((3, 2, 1, 4)), layers.AveragePooling3D(1)],
    "frozen layers": frozen(),
    "a layer used twice": shared(),
}


def near(found, expected, tolerance=2e-5):
    for mine, theirs in zip(found, expected, strict=True):
        scale = max(1e-3, *(np.abs(e).max() for e in theirs))
        for a, e in zip(mine, theirs, strict=True):
            assert np.abs(a - e).max() <= tolerance * scale


@pytest.mark.parametrize("name", NETWORKS)
def test_scans_that_go_together_have_the_naive_loops_gradients(name):
    model = model_of(*NETWORKS[name])
    rng = np.random.default_rng(1)
    model.set_weights([w + rng.normal(scale=0.1, size=w.shape) ** 2 for w in model.get_weights()])
    x, y = batch(GROUP)
    near(grouped(model, x, y), naive_gradients(model, x, y))


def test_many_and_few_positions_both_have_the_naive_loops_gradients():
    shape = (10, 20, 12)  # 2400 positions, then 300, then 60
    convolutions = [layers.Conv3D(3, 3, strides=s, padding="same", activation="relu") for s in (1, 2, (1, 2, 2))]
    model = model_of(*convolutions, shape=shape)
    x, y = batch(GROUP, shape=shape)
    near(grouped(model, x, y), naive_gradients(model, x, y))


def test_the_network_for_private_training_goes_in_groups_and_keeps_its_variables():
    model = build("cnn3d_small", shape=(6, 16, 20), n_classes=CLASSES, seed=1).model
    x, y = batch(GROUP, shape=(6, 16, 20))
    names, weights = [v.path for v in model.variables], model.get_weights()
    # As near to each other as both are to the gradients in float64.
    near(grouped(model, x, y), naive_gradients(model, x, y), 5e-5)
    assert [v.path for v in model.variables] == names
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    assert model.get_layer("trunk").output is not None  # no layer has become part of a second network


class MeanOfBatch(layers.Layer):
    """Lets scans of a batch meet."""

    def call(self, inputs):
        return inputs - ops.mean(inputs, axis=0, keepdims=True)


class Subclassed(layers.Conv3D):
    """A known layer's child may compute anything."""

    def call(self, inputs):
        return super().call(inputs - ops.mean(inputs, axis=0, keepdims=True))


def half():
    return layers.Conv3D(2, 1, dtype="mixed_bfloat16")


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (MeanOfBatch(name="meets"), "'meets' .MeanOfBatch. is not known"),
        (Subclassed(2, 1, name="child"), "'child' .Subclassed. is not known"),
        (layers.Dropout(0.5, name="drop"), "'drop' .Dropout. is not known"),
        (layers.BatchNormalization(name="bn"), "normalises across scans"),
        (layers.Activation(lambda x: x - ops.mean(x, axis=0)), "activation of the user's own"),
        (layers.Conv3D(2, 1, activation=lambda x: x - ops.mean(x, axis=0)), "activation of the user's own"),
        (layers.Conv3D(2, 2, dilation_rate=2, padding="same"), "convolution of an unusual kind"),
        (layers.GroupNormalization(1, scale=False), "group normalisation of an unusual kind"),
        (layers.Dense(2), "dense layer of an unusual kind"),
        (half(), "computes in bfloat16"),
        (lambda x: ops.var(x, axis=0, keepdims=True) + 0 * x, "reduces over the scans"),
        (lambda x: x + ops.var(x), "reduces over the scans"),
        (lambda x: ops.roll(x, 1, axis=0), "Roll. is not known"),
        (lambda x: layers.Concatenate(axis=0)([x, x]), "joins scans"),
    ],
)
def test_what_might_let_scans_meet_is_refused_with_the_reason(part, reason):
    with pytest.raises(UnknownLayerError, match=reason):
        tapped(model_of(part), Taps())


def test_a_network_that_is_not_known_takes_one_scan_at_a_time_and_says_so(caplog):
    model = build("cnn3d", shape=(4, 16, 16), n_classes=CLASSES, seed=0).model
    freeze_batch_normalization(model)
    with caplog.at_level("INFO", logger="flprivacy"):
        assert scan_gradients(model, 1.0).size == 1
    assert "one scan at a time, which is slower: layer 'head_dropout' (Dropout) is not known" in caplog.text
