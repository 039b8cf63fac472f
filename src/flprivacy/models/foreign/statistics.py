"""How well scans fit the statistics that a trained network keeps of what it saw in training."""

from typing import Any

import keras
import numpy as np
from keras import layers

from flprivacy.core.array_types import Float32Array, FloatArray
from flprivacy.models.foreign.contract import divergence


def misfit(network: keras.Model, scans: Float32Array) -> float | None:
    """Return how far the inputs of the first BatchNormalization are from those of its training; None: there is none.

    It is the Kullback-Leibler divergence, in nats, of a normal distribution with the inputs' mean and variance over
    ``scans`` and voxels from the one that the layer kept: the median over channels. Scans of another hospital give
    some tenths; values of another scale, such as 0 to 255 in place of 0 to 1, several nats to many thousands.
    """
    original = layers.BatchNormalization.call
    found: list[float] = []

    def call(self: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if not found:
            found.append(_divergence(self, np.asarray(inputs, np.float64)))
        return original(self, inputs, *args, **kwargs)

    layers.BatchNormalization.call = call
    try:
        network(scans, training=False)
    finally:
        layers.BatchNormalization.call = original
    return found[0] if found else None


def _divergence(layer: Any, inputs: FloatArray) -> float:
    channels = np.moveaxis(inputs, layer.axis, -1).reshape(-1, inputs.shape[layer.axis])
    mean, variance = (np.asarray(one, np.float64) for one in (layer.moving_mean, layer.moving_variance))
    return divergence(channels.mean(axis=0), channels.var(axis=0), mean, variance, layer.epsilon)
