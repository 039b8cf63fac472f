"""How much memory a network of somebody else may take, for its weights and for one scan."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from flprivacy.core.errors import TargetError
from flprivacy.models.foreign.allowed import MOST_NUMBERS
from flprivacy.models.hdf5 import printable

_MOST_TOGETHER = 1 << 30  # numbers of all tensors for one scan, which Keras holds until the last is there: 4 GiB
_WIDE_KERNEL = 8  # where an operation does not tell
_ATTENTION = (layers.Attention, layers.AdditiveAttention, layers.MultiHeadAttention, layers.GroupQueryAttention)

Sizes = tuple[int | None, ...]


@contextmanager
def bounded_building(most_weights: int) -> Iterator[None]:
    """Refuse large tensors, and weights of more than twice ``most_weights`` numbers, while Keras builds a network.

    Twice, for it builds the layer that Bidirectional wraps once more than the file holds it.
    """
    weight, tensor, left = layers.Layer.add_weight, keras.KerasTensor.__init__, [2 * most_weights]

    def add_weight(self: Any, shape: Any = None, *args: Any, **kwargs: Any) -> Any:
        left[0] -= math.prod(shape if isinstance(shape, (tuple, list)) else () if shape is None else (shape,))
        if left[0] < 0:
            raise ValueError("its layers want more weights than the file holds")
        return weight(self, shape, *args, **kwargs)

    def check_tensor(self: Any, shape: Any, *args: Any, **kwargs: Any) -> None:
        if math.prod(size or 1 for size in shape) > MOST_NUMBERS:
            raise ValueError(
                f"a tensor of shape {tuple(shape)}; at most {MOST_NUMBERS} numbers for one scan can be held"
            )
        tensor(self, shape, *args, **kwargs)

    layers.Layer.add_weight, keras.KerasTensor.__init__ = add_weight, check_tensor
    try:
        yield
    finally:
        layers.Layer.add_weight, keras.KerasTensor.__init__ = weight, tensor


def check_sizes(network: keras.Model, path: Path) -> None:
    """Refuse a network that a single scan would drive out of memory."""
    together = 0
    for name, sizes, numbers in _tensors(network, 1):
        together += numbers
        if any(size is None for size in sizes) or numbers > MOST_NUMBERS:
            raise TargetError(
                f"{path}: layer {printable(name)[:80]!r} takes {numbers} numbers for one scan, shape {sizes}; at most "
                f"{MOST_NUMBERS} of known sizes can be held: make the network smaller"
            )
    if together > _MOST_TOGETHER:
        raise TargetError(
            f"{path}: its layers take {together} numbers for one scan; at most {_MOST_TOGETHER} can be held: make the "
            "network smaller"
        )


def _tensors(network: Any, times: int) -> Iterator[tuple[str, Sizes, int]]:
    """Yield layer, shape and numbers of everything that one scan makes, in networks within networks too."""
    operations = getattr(network, "operations", network.layers) if isinstance(network, keras.Model) else ()
    for operation in operations:  # a Functional has more than its layers
        for node in operation._inbound_nodes:
            inputs = [tensor.shape[1:] for tensor in node.input_tensors]
            for sizes in (*(tensor.shape[1:] for tensor in node.output_tensors), *_hidden(operation, inputs)):
                yield operation.name, sizes, times * math.prod(size or 1 for size in sizes)
            if isinstance(operation, layers.TimeDistributed):
                yield from _tensors(operation.layer, times * (inputs[0][0] or 1))
        if isinstance(operation, keras.Model):
            yield from _tensors(operation, times)


def _hidden(operation: Any, inputs: list[Sizes]) -> Iterator[Sizes]:
    """Yield the shapes of tensors inside a layer that may be larger than what goes in and comes out."""
    if isinstance(operation, _ATTENTION):
        heads = getattr(operation, "num_heads", getattr(operation, "num_query_heads", 1))
        if isinstance(operation, layers.AdditiveAttention):
            heads = inputs[0][-1]
        yield (heads, *inputs[0][:-1], *(inputs[1] if len(inputs) > 1 else inputs[0])[:-1])
    reach = _reach(operation)
    if reach:
        yield (*((size or 1) + reach for size in inputs[0][:-1]), inputs[0][-1])


def _reach(operation: Any) -> int:
    """Return by how much a sliding window may reach beyond its input: some libraries pad by that."""
    rate, *others = (np.max(getattr(operation, name, None) or 1) for name in ("dilation_rate", "strides", "pool_size"))
    dilated = rate * np.max(getattr(operation, "kernel_size", _WIDE_KERNEL)) if rate > 1 else 1
    return int(max(dilated, *others)) - 1
