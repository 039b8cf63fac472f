"""Regressions with penalties: of classes (multinomial logistic), and of years (on the axes of a kernel: kernel ridge).

Of the former all penalties and folds are fitted at a time. Newton's method would need the curvature of each. Its upper
bound (Boehning, Ann. Inst. Stat. Math. 1992) is diagonal along the principal axes and the same for all folds, so a step
is two matrix products; steps are accelerated (Nesterov 1983) and start again where they overshoot (O'Donoghue and
Candes, 2015).
"""

from collections.abc import Sequence

import numpy as np

from flprivacy.attacks.family.fits import Fit
from flprivacy.attacks.family.problem import Answers, Problem, softmax
from flprivacy.core.array_types import Float32Array, FloatArray

# Of the squared length of the coefficients, for features of mean squared norm 1.
LOGISTIC_PENALTIES = (3e-4, 3e-5)
_STEPS = 25  # what is learnt later changes answers by less than penalties do
_CURVATURE = 0.5  # largest of a softmax
# Of the squared length of the coefficients, for features of mean squared norm 1.
RIDGE_PENALTIES = tuple(float(one) for one in np.geomspace(1e-6, 3.0, 14))
SHARES = (1.0, 0.5, 0.2)  # of the coefficients by shrunken variances, and by the widest axes alone
_SCANS_AN_AXIS = 3  # for the latter: of more axes, only noise would be known


def logistic(fits: Sequence[Fit], problem: Problem) -> Answers:
    """Learn classes of scans; see :data:`flprivacy.attacks.family.problem.Learner`."""
    whole, size = fits[-1], np.sqrt(fits[-1].variances.sum())
    features, asked = ((one / size).astype(np.float32) for one in (whole.learnt, whole.asked))
    folds = problem.folds == np.arange(problem.n_folds)[:, None]
    weights = problem.weights * np.vstack([~folds, np.ones(len(features), bool)])  # of each fit: all folds, then none
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    coefficients, offsets = _fitted(features, problem, weights)
    left_out = np.empty((len(LOGISTIC_PENALTIES), len(features), problem.n_classes))
    for fold, out in enumerate(folds):
        left_out[:, out] = np.moveaxis(_logits(features[out], coefficients[:, fold], offsets[fold]), 0, 1)
    held_out = _logits(asked, coefficients[:, -1], offsets[-1])
    answers = left_out, np.moveaxis(held_out, 0, 1).astype(np.float64)
    first, second = (one - problem.log_prior for one in answers)
    return Answers(left_out=first, held_out=second)


def _logits(features: Float32Array, coefficients: Float32Array, offsets: Float32Array) -> Float32Array:
    """Return (scan, ..., class) logits by coefficients (axis, ..., class) and offsets (..., class)."""
    flat = features @ coefficients.reshape(len(coefficients), -1)
    logits: Float32Array = flat.reshape(len(features), *coefficients.shape[1:]) + offsets
    return logits


def _fitted(features: Float32Array, problem: Problem, weights: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Return coefficients (axis, fit, penalty, class) and offsets (fit, penalty, class), for weights (fit, scan)."""
    shape = (features.shape[1], len(weights), len(LOGISTIC_PENALTIES), problem.n_classes)
    penalties = np.array(LOGISTIC_PENALTIES, np.float32)[:, None]
    squares = (features**2).sum(axis=0)
    steepest = _CURVATURE * np.outer(squares, weights.max(axis=1))  # (axis, fit)
    steps = (1.0 / (steepest[:, :, None, None] + penalties)).astype(np.float32)
    truth = np.eye(problem.n_classes, dtype=np.float32)[problem.classes][:, None, None]
    now: Float32Array = np.zeros(shape, np.float32)
    offset_now: Float32Array = np.zeros(shape[1:], np.float32)
    ahead, offset_ahead = now, offset_now
    momentum = 1.0
    for _ in range(_STEPS):
        slopes = softmax(_logits(features, ahead, offset_ahead))
        slopes -= truth
        slopes *= weights.T[:, :, None, None]
        gradient = (features.T @ slopes.reshape(len(features), -1)).reshape(shape) + penalties * ahead
        new, offset_new = ahead - steps * gradient, offset_ahead - slopes.sum(axis=0) / np.float32(_CURVATURE)
        overshot = ((ahead - new) * (new - now)).sum(axis=(0, 3), keepdims=True) > 0.0
        following = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        factor = np.where(overshot, 0.0, (momentum - 1.0) / following).astype(np.float32)
        ahead, offset_ahead = new + factor * (new - now), offset_new + factor[0] * (offset_new - offset_now)
        now, offset_now, momentum = new, offset_new, following
    return now, offset_now


def ridge(fits: Sequence[Fit], problem: Problem) -> Answers:
    """Learn years of scans; see :data:`flprivacy.attacks.family.problem.Learner`.

    Candidates are ridge regressions by their penalties; then regressions on variances that are shrunk axis by axis;
    then regressions on the widest principal axes, which nothing but their order depends on the coordinates' scale.
    """
    values = problem.values
    left_out = np.empty((len(RIDGE_PENALTIES) + 2 * len(SHARES), len(values)))
    for fold, one in enumerate(fits[:-1]):
        out = problem.folds == fold
        left_out[:, out] = _years(one, values[~out])
    lowest, highest = values.min(), values.max()  # no careful attacker answers beyond the exposed ages
    first, second = (np.clip(one, lowest, highest)[..., None] for one in (left_out, _years(fits[-1], values)))
    return Answers(left_out=first, held_out=second)


def _years(one: Fit, values: FloatArray) -> FloatArray:
    """Return (candidate, asked scan) years."""
    mean, variances, scans = values.mean(), one.variances, len(values)
    ridged = 1.0 / (variances + np.outer(RIDGE_PENALTIES, variances.sum()))
    shrunk = np.outer(SHARES, 1.0 / one.variances_elsewhere)
    widest = np.outer(SHARES, 1.0 / variances)
    widest[:, : max(len(variances) - scans // _SCANS_AN_AXIS, 0)] = 0.0
    coefficients = np.vstack([ridged, shrunk, widest]) * (one.learnt.T @ (values - mean) / scans)
    years: FloatArray = mean + coefficients @ one.asked.T
    return years
