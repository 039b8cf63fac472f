"""Linear discriminant analysis with a shrunken covariance and an allowance for how few scans a class has.

Classes share one Gaussian covariance. It is shrunk towards a multiple of the identity (Friedman, JASA 1989), by one of
a few shares, or axis by axis (:mod:`flprivacy.attacks.family.fits`). Class means are draws from a Gaussian, too,
so that what is expected of a class known from a single scan lies near the mean of all and is wide (the two-covariance
model of Ioffe, ECCV 2006).

The covariance within classes is that of all scans less that of the class means, which has as many axes as there are
classes. So one factorisation of the former serves every attribute and every shrinkage (Woodbury's identity).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.family.fits import Fit
from flprivacy.attacks.family.problem import Answers, Problem

FloatArray = npt.NDArray[np.float64]

SHRINKAGES = (1e-3, 5e-2, 0.2, 0.6)  # shares of the identity; one more candidate shrinks axis by axis
_LEAST_SPREAD = 1e-3  # of the classes' means, as a share of the spread within classes
_LEAST_WITHIN = 1e-6  # share of the variance that is within classes, even where each has a single scan
_MOST_BETWEEN = 0.9  # share of the shrunken variance along any direction that class means may explain
_TINY = float(np.finfo(np.float64).tiny)


def discriminant(fits: Sequence[Fit], problem: Problem) -> Answers:
    """Learn classes of scans; see :data:`flprivacy.attacks.family.problem.Learner`."""
    left_out = np.empty((len(SHRINKAGES) + 1, len(problem.values), problem.n_classes))
    for fold, one in enumerate(fits[:-1]):
        out = problem.folds == fold
        left_out[:, out] = _evidence(one, problem.classes[~out], problem.n_classes)
    return Answers(left_out=left_out, held_out=_evidence(fits[-1], problem.classes, problem.n_classes))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Covariances:
    """Shrunken covariances within classes: ``diag(along) - share * sum of weight * mean * mean``, one a candidate.

    Attributes:
        along: (candidate, axis).
        share: (candidate,).
        within: (candidate,) what a covariance within classes as observed is, as a multiple of total less between.
        variances: (axis,) observed, of all scans.
        means: (class, axis) of those classes that have scans.
        weights: (class,) shares of the scans.
    """

    along: FloatArray
    share: FloatArray
    within: float
    variances: FloatArray
    means: FloatArray
    weights: FloatArray


def _covariances(one: Fit, means: FloatArray, sizes: FloatArray) -> _Covariances:
    scans, axes = one.learnt.shape
    weights, within = sizes / scans, scans / max(scans - len(sizes), 1)
    total = one.variances.sum()
    level = within * max(total - weights @ (means**2).sum(axis=1), _LEAST_WITHIN * total) / axes
    shares = np.array(SHRINKAGES)
    mixed = np.outer(within * (1.0 - shares), one.variances) + level * shares[:, None]
    single = within * one.variances_elsewhere
    rooted = means * np.sqrt(weights)[:, None]
    explained = float(np.linalg.eigvalsh((rooted / single) @ rooted.T)[-1])
    return _Covariances(
        along=np.vstack([mixed, single]),
        share=np.append(within * (1.0 - shares), min(within, _MOST_BETWEEN / max(explained, _TINY))),
        within=within,
        variances=one.variances,
        means=means,
        weights=weights,
    )


def _evidence(one: Fit, classes: npt.NDArray[np.int64], n_classes: int) -> FloatArray:
    """Return (candidate, asked scan, class) log-likelihoods of the asked scans, up to a number that classes share."""
    sizes = np.bincount(classes, minlength=n_classes).astype(np.float64)
    members = np.zeros((n_classes, len(classes)))
    members[classes, np.arange(len(classes))] = 1.0
    seen = sizes > 0.0
    covariances = _covariances(one, (members[seen] @ one.learnt) / sizes[seen, None], sizes[seen])
    products, lengths, own, effective = _in_units_of_spread(covariances, one.asked)
    spread = spread_of_means(lengths, sizes[seen], effective)[:, None]
    trust = np.zeros((len(spread), n_classes))
    trust[:, seen] = sizes[seen] * spread / (sizes[seen] * spread + 1.0)
    widening = 1.0 + spread * (1.0 - trust)
    distances = np.repeat(own[..., None], n_classes, axis=-1)
    distances[..., seen] += (lengths * trust[:, seen] ** 2)[:, None] - 2.0 * products * trust[:, None, seen]
    evidence: FloatArray = -0.5 * (distances / widening[:, None] + (effective[:, None] * np.log(widening))[:, None])
    return evidence


def _in_units_of_spread(
    given: _Covariances, asked: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return, under each precision: products of asked scans and class means (candidate, asked scan, class), squared
    lengths of the means (candidate, class) and of the asked scans (candidate, asked scan), and how many axes count
    (candidate,), the trace of precision times observed covariance.
    """
    means, inverse = given.means, 1.0 / given.along
    scaled = means * inverse[:, None]  # (candidate, class, axis)
    gram = scaled @ means.T
    weighed, places = np.zeros_like(gram), np.arange(len(means))
    weighed[:, places, places] = 1.0 / np.outer(given.share, given.weights)
    correction = np.linalg.inv(weighed - gram)
    projected = (asked @ scaled.reshape(-1, means.shape[1]).T).reshape(len(asked), len(inverse), -1)
    projected = np.ascontiguousarray(np.moveaxis(projected, 1, 0))
    corrected = projected @ correction
    products = projected + corrected @ gram
    own = inverse @ (asked**2).T + (corrected * projected).sum(axis=-1)
    lengths = np.diagonal(gram + gram @ correction @ gram, axis1=1, axis2=2)
    spread = (scaled * given.variances) @ np.swapaxes(scaled, 1, 2)
    total = inverse @ given.variances + (correction * spread).sum(axis=(1, 2))
    return products, lengths, own, given.within * (total - lengths @ given.weights)


def spread_of_means(lengths: FloatArray, sizes: FloatArray, axes: FloatArray) -> FloatArray:
    """Return (candidate,) variances of class means per axis, in units of that within classes, by the method of moments.

    Args:
        lengths: (candidate, class) squared lengths of the means in units of the variance within classes.
        sizes: (class,) scans, or (candidate, class) expected ones.
        axes: (candidate,) effective number of axes.
    """
    total, freedom = sizes.sum(axis=-1), max(sizes.shape[-1] - 1, 1)
    typical = np.maximum((total - (sizes**2).sum(axis=-1) / total) / freedom, 1e-9)
    excess = (lengths * sizes).sum(axis=-1) / freedom - axes
    spread: FloatArray = np.maximum(excess / (np.maximum(axes, 1e-9) * typical), _LEAST_SPREAD)
    return spread
