"""What the output of a Keras network is, by its last activation, and which probabilities follow."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from flprivacy.models.foreign.answers import LABELS, LOGIT, LOGITS, PROBABILITIES, PROBABILITY, kind_by

_PASSED = (layers.Reshape, layers.Flatten, layers.Identity, layers.Dropout)


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
    if isinstance(operation, _PASSED) or name == "cast" or (name == "activation" and activation == "linear"):
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
