"""What the outer layers of a Keras network tell: how it normalises what it takes, and what its output is."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from flprivacy.models.foreign.answers import LABELS, LOGIT, LOGITS, PROBABILITIES, PROBABILITY, kind_by
from flprivacy.models.foreign.contract import Step
from flprivacy.models.foreign.parts import graph_of

# Layers in front of the first that tell, and behind the last, which do not change what values mean.
_BEFORE = (
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
_BEHIND = (layers.Reshape, layers.Flatten, layers.Identity, layers.Dropout)


def normalisations(network: keras.Model) -> list[Step]:
    """Return the steps in which a network normalises a scan before anything else; none where it does not."""
    return _normalisations(graph_of(network))[0]


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
    layer = node.operation.layer if isinstance(node.operation, layers.TimeDistributed) else node.operation
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
    return [], copies or isinstance(layer, _BEFORE) or name.startswith("Random") or name in ("Cast", "Clip")


def kind_of(answer: keras.KerasTensor, values: npt.NDArray[np.float64]) -> str:
    """Return what an output (n, unit) is; ``none`` of these where neither its shape nor its last activation tells.

    Where its activation does not, some ``values`` of it may.
    """
    return kind_by(_activation(answer), values)


def _activation(tensor: keras.KerasTensor) -> str:
    """Return the name of the activation that a tensor comes from, through whatever only passes it on."""
    operation, node, place = tensor._keras_history
    if isinstance(operation, keras.Model):
        return _activation(operation.outputs[place])
    name = type(operation).__name__.lower()
    if name in ("softmax", "sigmoid"):
        return name
    activation = getattr(getattr(operation, "activation", None), "__name__", "")
    if isinstance(operation, _BEHIND) or name == "cast" or (name == "activation" and activation == "linear"):
        return _activation(operation._inbound_nodes[node].input_tensors[0])
    return activation


def probabilities_of(answer: Any, kind: str) -> Any:
    """Return (n, class) probabilities from a network's output; None where it is no classifier's.

    Those of ``labels`` are each of a class by itself, and need not add up to 1.
    """
    if kind in (PROBABILITY, LOGIT):
        one = ops.sigmoid(answer) if kind == LOGIT else answer
        return ops.concatenate([1.0 - one, one], axis=-1)
    if kind == LOGITS:
        return ops.softmax(answer, axis=-1)
    return answer if kind in (PROBABILITIES, LABELS) else None
