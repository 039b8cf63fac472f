"""Networks of a user's own that are one of ours: their fresh weights are those that ours would have.

One network may come as a target folder, as a ``.keras`` file, and as an export of either or of its rebuild in another
library. What it gives away is judged beside fresh weights, and were those drawn anew for each format, verdicts near an
edge would differ by chance.
"""

import functools
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from flprivacy.models.registry import ARCHITECTURES, build
from flprivacy.models.slices2d import MAX_SLICES

Shape = tuple[int, ...]
Array = npt.NDArray[Any]


def familiar_kernels(shapes: Sequence[Shape], *, seed: int) -> list[Array] | None:
    """Return the kernels of our network that a network consists of, drawn as :func:`~flprivacy.models.registry.build`.

    Kernels are told apart by shape, and those of one shape by their order: networks of another library may go through
    parallel branches in another one.

    Args:
        shapes: (*window, inputs, outputs) of every kernel, in the order in which a scan meets them.
        seed: of the initial weights, not negative.

    Returns:
        float32 kernels in the order of ``shapes``; None where it is no network of ours, with its head or without.
    """
    count = Counter(shapes)
    for name in ARCHITECTURES:
        (trunk, features), classes = _trunk(name), shapes[-1][-1] if shapes else 0
        if count == trunk:
            return _in_order(shapes, _kernels(name, 1, 2, seed)[: len(shapes)])
        if count >= trunk and classes >= 2:
            taken = max((kernel[-2] for kernel in count - trunk), default=0)  # by the head, of every slice its features
            kernels = _kernels(name, max(taken // features, 1), classes, seed)
            if count == Counter(kernel.shape for kernel in kernels):
                return _in_order(shapes, kernels)
    return None


def kernels_of(network: keras.Model) -> list[keras.Variable]:
    """Return the weights of convolutions and dense layers, in the order of the network's layers."""
    return [weight for weight in network.weights if len(weight.shape) >= 2]


@functools.cache
def _trunk(name: str) -> tuple[Counter[Shape], int]:
    """Return the shapes of a trunk's kernels, and how many features it gives, at the smallest size of scans."""
    trunk = build(name, shape=ARCHITECTURES[name].minimal_shape, n_classes=2, seed=0).trunk
    return Counter(tuple(kernel.shape) for kernel in kernels_of(trunk)), trunk.output_shape[-1]


def _kernels(name: str, slices: int, classes: int, seed: int) -> list[Array]:
    """Return our network's kernels; how many slices it looks at is known by its head alone."""
    depth, height, width = ARCHITECTURES[name].minimal_shape
    shape = (depth * min(slices, MAX_SLICES), height, width)
    model = build(name, shape=shape, n_classes=classes, seed=seed).model
    return [np.asarray(keras.ops.convert_to_numpy(kernel)) for kernel in kernels_of(model)]


def _in_order(shapes: Sequence[Shape], kernels: Sequence[Array]) -> list[Array]:
    waiting: defaultdict[Shape, list[Array]] = defaultdict(list)
    for kernel in reversed(kernels):
        waiting[kernel.shape].append(kernel)
    return [waiting[shape].pop() for shape in shapes]
