"""The gradient of each scan's own loss, for a group of scans at once where the network's layers are known.

A group goes through the network together, forward and backward, as a batch of ordinary training does. What is each
scan's own is taken at the layers with weights, from what goes into a layer and from the gradient of what comes out
(:mod:`flprivacy.privacy.scan_layers_tensorflow`). Gradients are kept whole, so that the norm that is clipped is that of
the very numbers that are added up. Norms from products of inputs and gradients ("ghost norms", Li et al.,
arXiv:2110.05679) would take less memory, but what float32 loses in them would loosen the clipping.

A network with any other layer takes one scan at a time, by the backend's own differentiation.
"""

import logging
from typing import Any, NamedTuple, Protocol

import keras
import tensorflow as tf

from flprivacy.privacy.scan_layers_tensorflow import Taps, UnknownLayerError, tapped

LOGGER = logging.getLogger(__name__)
Tensor = Any

GROUP = 8
"""Scans that go through the network together. Two groups in memory are less than a usual batch."""


class ScanGradients(NamedTuple):
    """Of a group of scans: (scan,) loss and 1 where it is classified correctly, and (scan, size) float32 gradients.

    There is one array of gradients for each trainable variable of the network, in their order.
    """

    loss: Tensor
    correct: Tensor
    gradients: list[Tensor]


class Differentiate(Protocol):
    """(weights, other variables, scans, classes) -> gradients, for groups of ``size`` scans or of one."""

    size: int

    def __call__(self, weights: list[Tensor], others: list[Tensor], x: Tensor, y: Tensor) -> ScanGradients:
        """Differentiate; ``weights`` and ``others`` are tensors, so that nothing is read or written inside a loop."""


def scan_gradients(model: keras.Model, loss_scale: float) -> Differentiate:
    """Return the fastest exact way to the gradients of a network's scans; says why if that is one at a time."""
    try:
        if loss_scale != 1.0:
            raise UnknownLayerError("a loss scale is set, which is for half precision")
        return _Group(model)
    except UnknownLayerError as reason:
        LOGGER.info("private steps take one scan at a time, which is slower: %s", reason)
        return _OneScan(model, loss_scale)


class _Group:
    """Differentiates a copy of the network whose layers with weights note what a scan's own gradient is made of."""

    size = GROUP

    def __init__(self, model: keras.Model) -> None:
        self._taps = Taps()
        self._network = tapped(model, self._taps)
        self._variables = model.trainable_variables

    def __call__(self, weights: list[Tensor], others: list[Tensor], x: Tensor, y: Tensor) -> ScanGradients:
        with tf.GradientTape(watch_accessed_variables=False) as tape, self._taps.noting(tape):
            probabilities, _ = self._network.stateless_call(weights, others, x, training=True)
            loss = keras.losses.categorical_crossentropy(y, probabilities)
        own = self._taps.gradients(tape, loss)
        sizes = [v.shape.num_elements() for v in weights]
        # A variable that the answer does not depend on has no gradient.
        flat = [
            tf.reshape(own[id(v)], [-1, size]) if id(v) in own else tf.zeros([x.shape[0], size])
            for v, size in zip(self._variables, sizes, strict=True)
        ]
        return ScanGradients(loss, _correct(probabilities, y), flat)


class _OneScan:
    """Differentiates any network, one scan at a time."""

    size = 1

    def __init__(self, model: keras.Model, loss_scale: float) -> None:
        self._network, self._scale = model, loss_scale

    def __call__(self, weights: list[Tensor], others: list[Tensor], x: Tensor, y: Tensor) -> ScanGradients:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            probabilities, _ = self._network.stateless_call(weights, others, x, training=True)
            loss = tf.cast(keras.losses.categorical_crossentropy(y, probabilities), tf.float32)
            scaled = loss * self._scale if self._scale != 1.0 else loss
        parts = tape.gradient(scaled, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        flat = [tf.reshape(tf.cast(tf.convert_to_tensor(p), tf.float32), [1, -1]) for p in parts]
        if self._scale != 1.0:
            flat = [part / self._scale for part in flat]
        return ScanGradients(loss, _correct(probabilities, y), flat)


def _correct(probabilities: Tensor, y: Tensor) -> Tensor:
    return tf.cast(tf.equal(tf.argmax(probabilities, axis=-1), tf.argmax(y, axis=-1)), tf.float32)
