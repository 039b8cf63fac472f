"""Linear discriminant analysis with a shrunken covariance and an allowance for how few scans a class has.

Classes share one Gaussian covariance, shrunk towards a multiple of the identity (Friedman, JASA 1989). Their means are
draws from a Gaussian, too, so that what is expected of a class known from a single scan lies near the mean of all and
is wide (the two-covariance model of Ioffe, ECCV 2006). With one covariance for all classes, closed forms serve every
penalty and fold.
"""

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotrf, dpotri

from flprivacy.attacks.family.bases import Basis
from flprivacy.attacks.family.problem import Answers, Problem

FloatArray = npt.NDArray[np.float64]

SHRINKAGES = (1e-3, 5e-2, 0.2, 0.6)  # shares of the identity
_LEAST_SPREAD = 1e-3  # of the classes' means, as a share of the spread within classes


def discriminant(basis: Basis, problem: Problem) -> Answers:
    """Learn classes of scans; see :data:`flprivacy.attacks.family.problem.Learner`."""
    left_out = np.empty((len(SHRINKAGES), len(problem.values), problem.n_classes))
    for fold in range(problem.n_folds):
        out = problem.folds == fold
        left_out[:, out] = _evidence(basis.exposed[~out], problem.classes[~out], problem.n_classes, basis.exposed[out])
    held_out = _evidence(basis.exposed, problem.classes, problem.n_classes, basis.held_out)
    return Answers(left_out=left_out, held_out=held_out)


def _evidence(known: FloatArray, classes: npt.NDArray[np.int64], n_classes: int, asked: FloatArray) -> FloatArray:
    """Return (shrinkage, asked scan, class) log-likelihoods of the asked scans, up to a number that classes share."""
    sizes = np.bincount(classes, minlength=n_classes).astype(np.float64)
    centre = known.mean(axis=0)
    members = np.zeros((n_classes, len(classes)))
    members[classes, np.arange(len(classes))] = 1.0
    means = (members @ (known - centre)) / np.maximum(sizes, 1.0)[:, None]
    residuals = known - centre - means[classes]
    within = residuals.T @ residuals / max(len(known) - np.count_nonzero(sizes), 1)
    return np.stack([_shrunken(within, share, means, sizes, asked - centre) for share in SHRINKAGES])


def _shrunken(within: FloatArray, share: float, means: FloatArray, sizes: FloatArray, asked: FloatArray) -> FloatArray:
    """Return (asked scan, class) log-likelihoods with one shrinkage."""
    axes = len(within)
    level = max(np.trace(within) / axes, np.finfo(np.float64).tiny)
    precision = _inverse((1.0 - share) * within + share * level * np.eye(axes))
    effective = float((precision * within).sum())  # how many axes count
    directions = means @ precision
    lengths, own = (directions * means).sum(axis=1), ((asked @ precision) * asked).sum(axis=1)
    spread = _spread_of_means(lengths, sizes, effective)
    trust = sizes * spread / (sizes * spread + 1.0)
    widening = 1.0 + spread / (sizes * spread + 1.0)
    distances = own[:, None] - 2.0 * (asked @ directions.T) * trust + lengths * trust**2
    evidence: FloatArray = -0.5 * (distances / widening + effective * np.log(widening))
    return evidence


def _inverse(covariance: FloatArray) -> FloatArray:
    """Return the inverse of a positive definite matrix, by its Cholesky factor: half the work of any matrix's."""
    factor, failed = dpotrf(covariance, lower=1)
    lower, _ = dpotri(factor, lower=1)
    if failed:
        raise np.linalg.LinAlgError(f"covariance is not positive definite at axis {failed}")
    inverse: FloatArray = np.tril(lower) + np.tril(lower, -1).T
    return inverse


def _spread_of_means(lengths: FloatArray, sizes: FloatArray, axes: float) -> float:
    """Return the variance of the classes' means per axis, in units of that within classes, by the method of moments.

    Args:
        lengths: (class,) squared lengths of the means in units of the variance within classes.
        sizes: (class,) scans.
        axes: effective number of axes.
    """
    total, freedom = sizes.sum(), max(np.count_nonzero(sizes) - 1, 1)
    typical = max((total - (sizes**2).sum() / total) / freedom, 1e-9)
    excess = (sizes * lengths).sum() / freedom - axes
    return max(float(excess / (max(axes, 1e-9) * typical)), _LEAST_SPREAD)
