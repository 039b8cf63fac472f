"""Quadratic discriminant analysis: classes that differ in how features vary, and vary together, as much as in means.

Two features of which neither tells a class may tell it by their product, and so may the length of several. Each class
has a Gaussian covariance of its own, shrunk towards the one that all share (Friedman, JASA 1989), along the widest
axes of all scans.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from flprivacy.attacks.family.fits import Fit
from flprivacy.attacks.family.problem import Answers, Problem

FloatArray = npt.NDArray[np.float64]

SHARED = (0.1, 0.35, 0.7)  # of a class's covariance, what all classes share
_AXES = 64  # at most: more have more covariances than some hundred scans can show
_SMALLEST = 1e-10  # share of the largest variance below which there is none
_LEAST_SCANS = 20  # of a class with a covariance of its own
_MOST_SCANS = 0.8  # share of the scans that are of such classes, or there is little to learn
_BANDS = 3  # of years, of as many scans each
_FACTORS = (0.3, 1.0)  # what the evidence for a band counts


def has_covariances(problem: Problem) -> bool:
    """Return whether most scans are of classes that have enough of them for a covariance of their own."""
    sizes = np.bincount(problem.classes)
    return bool(sizes[sizes >= _LEAST_SCANS].sum() >= _MOST_SCANS * sizes.sum())


def quadratic(fits: Sequence[Fit], problem: Problem) -> Answers:
    """Learn classes of scans; see :data:`flprivacy.attacks.family.problem.Learner`."""
    left_out = np.empty((len(SHARED), len(problem.values), problem.n_classes))
    for fold, one in enumerate(fits[:-1]):
        out = problem.folds == fold
        left_out[:, out] = _evidence(one, problem.classes[~out], problem.n_classes)
    return Answers(left_out=left_out, held_out=_evidence(fits[-1], problem.classes, problem.n_classes))


def quadratic_years(fits: Sequence[Fit], problem: Problem) -> Answers:
    """Learn years by bands: the mean of each, by how likely it is; see :func:`quadratic`."""
    left_out = np.empty((len(SHARED) * len(_FACTORS), len(problem.values), 1))
    for fold, one in enumerate(fits[:-1]):
        out = problem.folds == fold
        left_out[:, out] = _years(one, problem.values[~out])
    return Answers(left_out=left_out, held_out=_years(fits[-1], problem.values))


def _years(one: Fit, values: FloatArray) -> FloatArray:
    """Return (candidate, asked scan, 1) predicted years."""
    bands = np.digitize(values, np.quantile(values, np.arange(1, _BANDS) / _BANDS))
    known = np.unique(bands)
    means = np.array([values[bands == band].mean() for band in known])
    evidence = _evidence(one, bands, _BANDS)[..., known]
    years = [softmax(factor * evidence, axis=-1) @ means for factor in _FACTORS]
    return np.concatenate(years)[..., None]


def _evidence(one: Fit, classes: npt.NDArray[np.int64], n_classes: int) -> FloatArray:
    """Return (candidate, asked scan, class) log-likelihoods of the asked scans, up to a number that classes share."""
    scale = np.sqrt(one.variances_elsewhere[-_AXES:])
    learnt, asked = one.learnt[:, -_AXES:] / scale, one.asked[:, -_AXES:] / scale
    shared = np.array(SHARED)[:, None]
    evidence = np.empty((len(SHARED), len(asked), n_classes))
    for number in range(n_classes):
        own = learnt[classes == number]
        mean = own.sum(axis=0) / (len(own) + 1.0)
        away = asked - mean
        if len(own) < _LEAST_SCANS:
            evidence[..., number] = -0.5 * (away**2).sum(axis=1)
            continue
        variances, squares = _along_axes(own - mean, away)
        mixed = (1.0 - shared) * variances + shared  # (candidate, axis)
        rest = (away**2).sum(axis=1) - squares.sum(axis=1)  # along axes in which the class has no variance
        distances = (1.0 / mixed) @ squares.T + rest / shared
        size = np.log(mixed).sum(axis=1, keepdims=True) + (learnt.shape[1] - len(variances)) * np.log(shared)
        evidence[..., number] = -0.5 * (distances + size)
    return evidence


def _along_axes(own: FloatArray, away: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return (axis,) the variances of a class along its principal axes, and (scan, axis) squared lengths there.

    Args:
        own: (scan of the class, feature) away from its mean.
        away: (asked scan, feature) likewise.
    """
    scans, features = own.shape
    if scans >= features:
        variances, axes = np.linalg.eigh(own.T @ own / scans)
        return np.maximum(variances, 0.0), (away @ axes) ** 2
    variances, weights = np.linalg.eigh(own @ own.T / scans)
    kept = variances > _SMALLEST * variances[-1]
    variances, weights = variances[kept], weights[:, kept]
    return variances, ((away @ own.T) @ (weights / np.sqrt(scans * variances))) ** 2
