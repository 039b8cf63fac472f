"""Layers of many heads at once: every weight carries leading axes that count the heads.

A stack of heads has leading axes ``(model, seed, attribute)``; a weight of shape (in, out) of one head becomes
(model, seed, attribute, in, out) here. No operation mixes two heads, so each behaves as if it were alone.
"""

from typing import Any

import keras
from keras import ops

EPSILON = 1e-3  # of batch normalisation, as in Keras and the reference study


class StackedDense(keras.layers.Layer):  # type: ignore[misc]
    """A dense layer per head: (*lead, scan, in) -> (*lead, scan, units)."""

    def __init__(self, lead: tuple[int, ...], units: int, *, use_bias: bool = True, **kwargs: Any) -> None:
        """Create the layer for heads of leading axes ``lead``."""
        super().__init__(**kwargs)
        self.lead, self.units, self.use_bias = lead, units, use_bias

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create kernel (*lead, in, units) and bias (*lead, 1, units); initial values are set from outside."""
        shape = (*self.lead, input_shape[-1], self.units)
        self.kernel = self.add_weight(shape=shape, initializer="zeros", name="kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(*self.lead, 1, self.units), initializer="zeros", name="bias")
        self.built = True

    def call(self, x: Any) -> Any:
        """Return ``x @ kernel + bias``, head by head."""
        y = ops.matmul(x, self.kernel)
        return y + self.bias if self.use_bias else y


class StackedNormalization(keras.layers.Layer):  # type: ignore[misc]
    """Batch normalisation per head, with the statistics of a reference sample instead of moving averages.

    In training the reference is the batch itself, as in Keras. For scoring it is the whole exposed sample: the
    statistics are then exact, where a moving average of momentum .99 would still hold a fifth to four fifths of its
    initial (0, 1) after the 20 to 160 steps of an attack.
    """

    def __init__(self, lead: tuple[int, ...], **kwargs: Any) -> None:
        """Create the layer for heads of leading axes ``lead``."""
        super().__init__(**kwargs)
        self.lead = lead

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create gamma and beta, both (*lead, 1, in)."""
        shape = (*self.lead, 1, input_shape[-1])
        self.gamma = self.add_weight(shape=shape, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta")
        self.built = True

    def affine(self, reference: Any) -> tuple[Any, Any]:
        """Return (scale, shift), each (*lead, 1, in), that normalise by the statistics of ``reference``.

        Args:
            reference: (*lead, scan, in); a leading axis may be 1 where heads share it.
        """
        mean, variance = ops.moments(reference, axes=(-2,), keepdims=True)
        scale = self.gamma * ops.rsqrt(variance + EPSILON)
        return scale, self.beta - mean * scale

    def call(self, x: Any, reference: Any) -> Any:
        """Return ``x`` normalised by the statistics of ``reference``, scaled by gamma and shifted by beta."""
        scale, shift = self.affine(reference)
        return x * scale + shift
