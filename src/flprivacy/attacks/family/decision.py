"""From evidence to scores: how far an attacker lets evidence lead away from the commonest class."""

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from flprivacy.attacks.family.problem import Problem
from flprivacy.core.metrics import confusion_matrices, f1_weighted

FloatArray = npt.NDArray[np.float64]

# Probabilities that are right on average follow weak evidence too timidly for the weighted F1, which does not reward
# the commonest class for every scan.
_BOLDNESS = np.array([1.0, 1.5, 2.0, 3.0, 5.0, 10.0])


def scores(problem: Problem, left_out: FloatArray, held_out: FloatArray) -> FloatArray:
    """Return (held-out scan, column) class probabilities, or years as they are.

    Args:
        problem: the exposed scans.
        left_out: (scan, column) evidence for the classes of the exposed scans, each without its own fold, or years.
        held_out: (held-out scan, column) likewise.
    """
    if not problem.n_classes:
        return held_out
    bold = _BOLDNESS[:, None, None] * left_out + problem.log_prior
    factor = _BOLDNESS[int(hits(problem, bold).argmax())]
    probabilities: FloatArray = softmax(factor * held_out + problem.log_prior, axis=-1)
    return probabilities


def hits(problem: Problem, logits: FloatArray) -> FloatArray:
    """Return (candidate,) weighted F1 of logits (candidate, scan, class) on the exposed scans that can be judged."""
    counted = (problem.judged > 0.0).astype(np.float64)
    matrices = confusion_matrices(problem.classes, logits.argmax(axis=-1), problem.n_classes, counted)
    return np.atleast_1d(f1_weighted(matrices))
