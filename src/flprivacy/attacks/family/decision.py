"""From evidence to scores: of age bands, and how far an attacker lets evidence lead away from the commonest class."""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from flprivacy.attacks.family.problem import Problem, softmax
from flprivacy.core.metrics import confusion_matrices, f1_weighted

FloatArray = npt.NDArray[np.float64]

# Probabilities that are right on average follow weak evidence too timidly for the weighted F1, which does not reward
# the commonest class for every scan.
_BOLDNESS = np.array([1.0, 1.5, 2.0, 3.0, 5.0, 10.0])
_LEAST = 1e-9  # probability of an interval


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
    probabilities: FloatArray = softmax(factor * held_out + problem.log_prior)
    return probabilities


def hits(problem: Problem, logits: FloatArray, *, folds: int | None = None) -> FloatArray:
    """Return (candidate,) weighted F1 of logits (candidate, scan, class) on the exposed scans that can be judged.

    With ``folds``, only the first so many of them count.
    """
    counted = ((problem.judged > 0.0) & (problem.folds < (folds or problem.n_folds))).astype(np.float64)
    matrices = confusion_matrices(problem.classes, logits.argmax(axis=-1), problem.n_classes, counted)
    return np.atleast_1d(f1_weighted(matrices))


def evidence_of_years(
    problem: Problem, years: FloatArray, left_out: FloatArray, held_out: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return what predicted years say of intervals, (scan, class) and (held-out scan, class) evidence.

    Years are off by as much, normally distributed, as those of the exposed scans are.

    Args:
        problem: the intervals of the exposed scans, in rising order.
        years: (scan,) of the exposed scans.
        left_out: (scan,) years predicted for the exposed scans, each without its own fold.
        held_out: (held-out scan,) predicted years.
    """
    edges = _edges(problem, years)
    error = max(float(np.sqrt(np.mean((left_out - years) ** 2))), float(np.finfo(np.float32).tiny))
    first, second = (
        np.log(np.maximum(np.diff(ndtr((edges - one[:, None]) / error), axis=1), _LEAST)) - problem.log_prior
        for one in (left_out, held_out)
    )
    return first, second


def _edges(problem: Problem, years: FloatArray) -> FloatArray:
    """Return (class + 1,) bounds half-way between exposed scans of different intervals; outer ones are infinite."""
    edges = np.full(problem.n_classes + 1, np.inf)
    edges[0] = -np.inf
    for index in range(1, problem.n_classes):
        above = problem.classes >= index
        edges[index] = (np.max(years[~above], initial=-np.inf) + np.min(years[above], initial=np.inf)) / 2.0
    return edges
