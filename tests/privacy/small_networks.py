"""Tiny networks on anisotropic scans, and the naive loop that private gradients are held against."""

import keras
import numpy as np

SHAPE = (3, 5, 8)
CLASSES = 3


def network(*, dropout=0.0, norm="group", dtype=None, seed=0):
    """Return scans (n, 3, 5, 8, 1) -> (n, 3) probabilities; ``norm`` is group, batch or none."""
    keras.utils.set_random_seed(seed)
    scan = keras.Input((*SHAPE, 1))
    x = keras.layers.Conv3D(4, (1, 2, 3), strides=(1, 1, 2), dtype=dtype, name="conv")(scan)
    if norm == "group":
        x = keras.layers.GroupNormalization(2, dtype=dtype)(x)
    if norm == "batch":
        x = keras.layers.BatchNormalization(dtype=dtype, name="bn")(x)
    x = keras.layers.Activation("relu", dtype=dtype)(x)
    x = keras.layers.Flatten(dtype=dtype)(x)
    if dropout:
        x = keras.layers.Dropout(dropout, seed=7, dtype=dtype)(x)
    x = keras.layers.Dense(CLASSES, dtype=dtype)(x)
    return keras.Model(scan, keras.layers.Activation("softmax", dtype="float32")(x))


def batch(n, *, seed=0, shape=SHAPE):
    """Return (n, depth, height, width, 1) scans in [0, 1] and (n, 3) one-hot classes."""
    rng = np.random.default_rng(seed)
    x = rng.random(size=(n, *shape, 1)).astype(np.float32)
    return x, np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, n)]


def naive_gradients(model, x, y):
    """Return one list of arrays a scan: the gradient of its own cross-entropy, one scan a call."""
    gradient = _gradient(model)
    return [[np.asarray(g) for g in gradient(x[i : i + 1], y[i : i + 1])] for i in range(len(x))]


def _gradient(model):
    import tensorflow as tf

    weights = [v.value for v in model.trainable_variables]

    # Compiled, because in eager mode TensorFlow's MaxPool3D has a wrong gradient on CPUs (i3d shows it).
    @tf.function
    def gradient(x, y):
        with tf.GradientTape() as tape:
            loss = keras.losses.categorical_crossentropy(y, model(x, training=True))[0]
        return tape.gradient(loss, weights)

    return gradient


def clipped_sum(gradients, clip_norm):
    """Return the sum over units of gradients scaled to an L2 norm of at most ``clip_norm``, in float64."""
    total = [np.zeros(g.shape) for g in gradients[0]]
    for gradient in gradients:
        norm = np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in gradient))
        for held, g in zip(total, gradient, strict=True):
            held += g * min(1.0, clip_norm / norm)
    return total
