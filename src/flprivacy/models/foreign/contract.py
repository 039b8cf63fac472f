"""What a network of the user's own takes: the order of the axes, and the values that stand for air and bone.

Scans come as (n, depth, height, width, 1) in [0, 1]. A network that was trained on other numbers sees, without a word,
nothing that it knows: it looks as if it gave nothing away. So both are facts of a target; where they are not stated
they are read from the file, and where it does not tell either they are asked for.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from flprivacy.core.errors import TargetError
from flprivacy.core.target_source import AXES, HU, UNIT, range_of
from flprivacy.models.architecture import Shape
from flprivacy.models.foreign.parts import graph_of

Step = tuple[float, float]  # scale and offset

_BYTES = "0..255"
_MOST_SCORE, _LEAST_LEAD = 3.0, 0.5
# Layers in front of the first that tell, which do not change what values mean.
_PASSED = (
    layers.Identity,
    layers.Reshape,
    layers.Permute,
    layers.Resizing,
    layers.CenterCrop,
    layers.Cropping3D,
    layers.ZeroPadding3D,
    layers.GaussianNoise,
    layers.Dropout,
)
_ARITHMETIC: dict[str, Callable[[float], Step]] = {
    "Multiply": lambda number: (number, 0.0),
    "TrueDivide": lambda number: (1.0 / number, 0.0),
    "Divide": lambda number: (1.0 / number, 0.0),
    "Add": lambda number: (1.0, number),
    "Subtract": lambda number: (1.0, -number),
}


def guessed_axes(sizes: tuple[int, int, int]) -> str:
    """Return the order of a network's axes: as ours, unless its first two are alike and its third is not.

    Slices of CT are square: (128, 128, 64), as in Keras's own example of chest CT, is (height, width, depth).
    """
    return "hwd" if sizes[0] == sizes[1] != sizes[2] else AXES


def scan_shape(sizes: tuple[int, int, int], axes: str) -> Shape:
    """Return (depth, height, width) of a network whose axes of these sizes are in that order."""
    depth, height, width = (sizes[axes.index(axis)] for axis in AXES)
    return depth, height, width


def guessed_range(network: keras.Model, path: Path) -> str:
    """Return the range of values that a network was trained on, by how its first layers normalise them.

    The range is that of 0..1, 0..255 and HU which they bring nearest to numbers between -1 and 1; 0..1 where they
    normalise nothing.

    Raises:
        TargetError: no range, or more than one, makes sense.
    """
    steps, _ = _normalisations(graph_of(network))
    if not steps:
        return UNIT
    scale, offset = 1.0, 0.0
    for by, plus in steps:
        scale, offset = by * scale, by * offset + plus
    scores = sorted((_score(scale, offset, name), name) for name in (UNIT, _BYTES, HU))
    if not scores[0][0] <= min(_MOST_SCORE, scores[1][0] - _LEAST_LEAD):
        raise TargetError(
            f"{path}: its first layers turn a value into {scale:.4g} * value + {offset:.4g}, which does not tell the "
            f"values that it was trained on; give input_range={UNIT}, {_BYTES}, {HU} or LOW..HIGH (air and bone)"
        )
    return scores[0][1]


def _score(scale: float, offset: float, name: str) -> float:
    """Return how far a range comes to lie from -1..1, in width and centre."""
    low, high = range_of(name) or (0.0, 1.0)
    return abs(math.log(max(abs(scale) * (high - low), 1e-30) / 2.0)) + abs(scale * (low + high) / 2.0 + offset)


def _normalisations(graph: Any) -> tuple[list[Step], bool]:
    """Return the steps of a scan before the first that is no normalisation, and whether there is none."""
    front, found = {id(one) for one in graph.inputs}, []
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.is_input or not any(id(one) in front for one in node.input_tensors):
                continue
            steps, passed = _steps(node)
            found += steps
            if not passed:
                return found, False
            front = {id(one) for one in node.output_tensors}
    return found, True


def _steps(node: Any) -> tuple[list[Step], bool]:
    """Return what one operation does to values, and whether that is all that it does."""
    layer = node.operation
    name = type(layer).__name__
    if isinstance(layer, keras.Model):
        return _normalisations(graph_of(layer))
    if isinstance(layer, layers.Rescaling):
        return [(float(np.mean(layer.scale)), float(np.mean(layer.offset)))], True
    if isinstance(layer, layers.Normalization | layers.BatchNormalization):
        statistics = (layer.mean, layer.variance) if isinstance(layer, layers.Normalization) else layer.weights[-2:]
        mean, variance = (float(np.mean(np.asarray(one))) for one in statistics)
        return [(1.0 / math.sqrt(max(variance, 1e-14)), -mean / math.sqrt(max(variance, 1e-14)))], True
    numbers = [one for one in node.arguments.args if isinstance(one, (int, float))]
    turned = bool(numbers) and node.arguments.args[0] is numbers[0]
    if name in _ARITHMETIC and len(numbers) == 1 and numbers[0] and not (turned and name not in ("Add", "Multiply")):
        return [_ARITHMETIC[name](float(numbers[0]))], True
    copies = isinstance(layer, layers.Concatenate) and len({id(one) for one in node.input_tensors}) == 1
    return [], copies or isinstance(layer, _PASSED) or name.startswith("Random") or name == "Cast"
