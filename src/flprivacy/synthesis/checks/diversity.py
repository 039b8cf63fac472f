"""Density and coverage of synthetic scans among real ones (Naeem et al., ICML 2020, arXiv:2002.09797)."""

import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import FloatArray
from flprivacy.core.errors import AuditError, check
from flprivacy.core.generator_audit import Diversity


def density_and_coverage(real: npt.ArrayLike, synthetic: npt.ArrayLike, *, k: int = 5) -> Diversity:
    """Say whether synthetic scans lie where real ones do (density), and whether they are everywhere there (coverage).

    A real scan's neighbourhood is the ball that reaches to its ``k``-th nearest real scan. Density is the mean number
    of neighbourhoods that a synthetic scan lies in, over ``k``; coverage the share of neighbourhoods that hold a
    synthetic scan. Neither says anything about privacy: copies of the real scans have a density of 1 or
    more and cover all of them.

    Args:
        real: (real scan, feature) features.
        synthetic: (synthetic scan, feature) likewise.
        k: neighbours that define a neighbourhood.

    Returns:
        Both, with the coverage to be expected of as many scans of the real ones' distribution, whose density is 1.

    Raises:
        AuditError: arrays that do not fit together, values that are not finite, or no more than ``k`` real scans.
        ConfigError: ``k`` is below 1.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> found = density_and_coverage(rng.normal(size=(300, 4)), rng.normal(size=(300, 4)))
        >>> round(found.density, 1), round(found.coverage, 2), round(found.ideal_coverage, 2)
        (1.0, 0.97, 0.97)
    """
    check(k >= 1, "k", k, "must be at least 1")
    ours, theirs = _features("real", real), _features("synthetic", synthetic)
    if ours.shape[1] != theirs.shape[1]:
        raise AuditError(f"real scans have {ours.shape[1]} features, synthetic {theirs.shape[1]}; give the same ones")
    if len(ours) <= k:
        raise AuditError(f"{len(ours)} real scans have no {k} neighbours each; give more scans or a smaller k")
    # The nearest of a scan is itself.
    radius = np.partition(_distances(ours, ours), k, axis=1)[:, k]
    inside = _distances(ours, theirs) <= radius[:, None]
    return Diversity(
        density=float(inside.sum(axis=0).mean() / k),
        coverage=float(inside.any(axis=1).mean()),
        ideal_coverage=ideal_coverage(len(ours), len(theirs), k),
        k=k,
        n_real=len(ours),
        n_synthetic=len(theirs),
    )


def ideal_coverage(n_real: int, n_synthetic: int, k: int) -> float:
    """Return the expected coverage if both samples are of one distribution.

    A neighbourhood is empty if the ``k`` nearest of all others, which are in any order, are real.
    """
    j = np.arange(1, k + 1)
    return float(1.0 - np.prod((n_real - j) / (n_real + n_synthetic - j)))


def _features(name: str, values: npt.ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape or not np.isfinite(array).all():
        raise AuditError(f"{name} has shape {array.shape}; must be (scan, feature) finite numbers, at least one each")
    return array


def _distances(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return squared (scan of the first, scan of the second) distances."""
    squares = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1) - 2.0 * first @ second.T
    distances: FloatArray = np.maximum(squares, 0.0)
    return distances
