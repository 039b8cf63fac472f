"""What an output of a network of the user's own is, by its last activation or values, and what probabilities follow.

A softmax gives ``probabilities``, sigmoids the probability of each of several ``labels`` or of the second of two
classes (``probability``), no activation the ``logits`` or ``logit`` of the same.
"""

import numpy as np

from flprivacy.core.array_types import Array

PROBABILITIES, LOGITS, LABELS, PROBABILITY, LOGIT, NONE = (
    "probabilities",
    "logits",
    "labels",
    "probability",
    "logit",
    "none",
)
_ONE, _SEVERAL = (
    {"sigmoid": PROBABILITY, "linear": LOGIT},
    {"softmax": PROBABILITIES, "sigmoid": LABELS, "linear": LOGITS},
)


def kind_by(activation: str, values: Array) -> str:
    """Return what an output is whose last activation is of that name; ``none`` where it cannot be told.

    Args:
        activation: ``softmax``, ``sigmoid``, ``linear``, or another, which tells nothing.
        values: (n, unit) some of its values, which tell whether they are probabilities that add up to 1 where the
            activation does not; of another number of axes it is no classifier's.
    """
    if values.ndim != 2:
        return NONE
    kind = (_ONE if values.shape[1] == 1 else _SEVERAL).get(activation, "")
    adds_up = values.shape[1] > 1 and (values >= 0.0).all() and np.allclose(values.sum(axis=1), 1.0, atol=1e-3)
    return kind or (PROBABILITIES if adds_up else NONE)


def probabilities(values: Array, kind: str) -> Array:
    """Return (n, class) probabilities of values (n, unit) of an output of a kind other than ``none``.

    Those of ``labels`` are each of a class by itself, and need not add up to 1.
    """
    from scipy import special  # slow to import: only where it is used

    if kind in (PROBABILITY, LOGIT):
        one = special.expit(values) if kind == LOGIT else values
        return np.concatenate([1.0 - one, one], axis=-1)
    return special.softmax(values, axis=-1) if kind == LOGITS else values
