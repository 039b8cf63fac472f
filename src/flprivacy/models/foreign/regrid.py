"""Scans of one grid for a network that takes another: resampled axis by axis, so that none is taken for another."""

from typing import Any

import keras
from keras import layers, ops

from flprivacy.models.foreign.contract import Shape, shares_of


class Regrid(layers.Layer):  # type: ignore[misc]  # Keras comes without types
    """(n, depth, height, width, 1) of any sizes -> (n, *shape, 1): averaged where coarser, else interpolated."""

    def __init__(self, shape: Shape, **kwargs: Any) -> None:
        """Remember the (depth, height, width) to bring scans to."""
        super().__init__(**kwargs)
        self._shape = shape

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of what :meth:`call` gives."""
        return (input_shape[0], *self._shape, 1)

    def call(self, scans: Any) -> Any:
        """Resample each axis whose size differs; others stay as they are, bit for bit."""
        for axis, size in enumerate(self._shape, start=1):
            if scans.shape[axis] != size:
                weights = ops.convert_to_tensor(shares_of(int(scans.shape[axis]), size))
                scans = ops.moveaxis(ops.tensordot(scans, weights, axes=[[axis], [1]]), -1, axis)
        return scans


def any_grid() -> keras.KerasTensor:
    """Return the symbolic input of a trunk that takes scans of any grid."""
    return keras.Input((None, None, None, 1), name="scan")
