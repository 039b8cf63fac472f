"""Several answers about the same scans made into one, by weights learnt from exposed scans that the answers were not
learnt from.

Evidence for classes is added up like the logarithms of independent likelihoods, each times what it is worth (stacking:
Wolpert, Neural Networks 1992); the deviations of predicted years from their mean are added up likewise. There is one
weight an answer, never negative, so an answer that knows nothing costs next to nothing, however many numbers it was
made from.
"""

from collections.abc import Callable, Sequence

import numpy as np

from flprivacy.attacks.family.problem import Problem, softmax
from flprivacy.core.array_types import FloatArray

_STEPS = 15
_PENALTY = 1e-3  # of the weights' squares, in nats a scan: two answers that agree share
_LONGEST = 0.5  # step that a weight may take at a time
_CURVATURE = "isk,jsk,sk,s->ij"  # of answers, their scans and classes


def weights_of_evidence(evidence: FloatArray, problem: Problem) -> FloatArray:
    """Return (answer,) weights, 0 or more, under which the sum of the evidence explains the exposed scans best.

    Args:
        evidence: (answer, scan, class) for exposed scans, each without its own fold.
        problem: their classes.
    """
    return _without_negative(lambda some: _newton(evidence[some], problem), len(evidence))


def weights_of_years(years: FloatArray, problem: Problem) -> FloatArray:
    """Return (answer,) weights, 0 or more, under which the sum of the deviations has the least squared errors.

    Args:
        years: (answer, scan) deviations of the predictions from their means, each without the scan's own fold.
        problem: the ages of these scans.
    """
    truth = problem.values - problem.values.mean()
    gram, projected = years @ years.T, years @ truth
    ridge = _PENALTY * max(np.trace(gram) / len(gram), np.finfo(np.float64).tiny)

    def least_squares(some: list[int]) -> FloatArray:
        return np.linalg.solve(gram[np.ix_(some, some)] + ridge * np.eye(len(some)), projected[some])

    return _without_negative(least_squares, len(years))


def _without_negative(fit: Callable[[list[int]], FloatArray], answers: int) -> FloatArray:
    """Fit and leave out the answer with the lowest weight until none is negative."""
    some = list(range(answers))
    weights = np.zeros(answers)
    while some:
        found = fit(some)
        if found.min() >= 0.0:
            weights[some] = found
            break
        del some[int(found.argmin())]
    return weights


def _newton(evidence: FloatArray, problem: Problem) -> FloatArray:
    """Return the (answer,) weights, of either sign, with the least cross-entropy, which is convex in them."""
    scans = np.arange(evidence.shape[1])
    judged = problem.judged / max(problem.judged.sum(), np.finfo(np.float64).tiny)
    right = evidence[:, scans, problem.classes] @ judged
    weights, order = np.full(len(evidence), 0.3), None
    for _ in range(_STEPS):
        shares = softmax(np.tensordot(weights, evidence, axes=1) + problem.log_prior)
        expected = (shares * evidence).sum(axis=-1)  # (answer, scan)
        slope = expected @ judged - right + _PENALTY * weights
        centred = evidence - expected[..., None]
        factors = centred, centred, shares, judged
        order = order or np.einsum_path(_CURVATURE, *factors, optimize=True)[0]  # the same in every step
        curvature = np.einsum(_CURVATURE, *factors, optimize=order)
        step = np.linalg.solve(curvature + _PENALTY * np.eye(len(weights)), slope)
        weights = weights - np.clip(step, -_LONGEST, _LONGEST)
        if np.abs(step).max() < 1e-4:
            break
    return weights


def fused(problem: Problem, answers: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """Return what several answers say together: of the exposed scans, each without its own fold, and of the held-out.

    Args:
        problem: the exposed scans.
        answers: for each one what it says of the exposed scans, each without its own fold, and of the held-out scans:
            (scan, column) and (held-out scan, column) evidence for classes, or years.
    """
    left_out, held_out = (np.stack([one[part] for one in answers]) for part in (0, 1))
    if problem.n_classes:
        weights = weights_of_evidence(left_out, problem)
        return np.tensordot(weights, left_out, axes=1), np.tensordot(weights, held_out, axes=1)
    means = left_out.mean(axis=1, keepdims=True)
    weights = weights_of_years(left_out[..., 0] - means[..., 0], problem)
    lowest, highest, mean = problem.values.min(), problem.values.max(), problem.values.mean()
    first, second = (
        np.clip(mean + np.tensordot(weights, part - means, axes=1), lowest, highest) for part in (left_out, held_out)
    )
    return first, second
