"""Trade-off curves of differential privacy: the least false positive rate of an attack with a given true positive rate.

A mechanism is f-DP (Dong, Roth and Su, arXiv:1905.02383) if no attack on it does better than its curve. Curves here are
functions from true positive rates to false positive rates, both in [0, 1], increasing and convex.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri

from flprivacy.core.errors import AuditError

FloatArray = npt.NDArray[np.float64]
Curve = Callable[[FloatArray], FloatArray]

_MOST_EPSILON = 1000.0


def gaussian_curve(mu: npt.ArrayLike) -> Curve:
    """Return the curve of telling N(mu, 1) from N(0, 1): mu-Gaussian DP. Broadcasts over an array of mu."""
    shift = np.asarray(mu, dtype=np.float64)
    return lambda tpr: ndtr(ndtri(tpr) - shift)


def approximate_curve(epsilon: npt.ArrayLike, delta: float) -> Curve:
    """Return the curve of (epsilon, delta)-DP, the weakest that the pair promises. Broadcasts over epsilon."""
    growth = np.exp(np.asarray(epsilon, dtype=np.float64))

    def curve(tpr: FloatArray) -> FloatArray:
        low, high = (tpr - delta) / growth, 1.0 - delta - growth * (1.0 - tpr)
        return np.asarray(np.maximum(np.maximum(low, high), 0.0))

    return curve


def profile_curve(epsilons: npt.ArrayLike, deltas: npt.ArrayLike) -> Curve:
    """Return the curve that meets every (epsilon, delta) of an accountant's privacy profile.

    Args:
        epsilons: (pair,) not negative.
        deltas: (pair,) such that the mechanism is (epsilon, delta)-DP for each pair, of adding as of removing a unit.

    Raises:
        AuditError: arrays that do not match, or out of range.
    """
    e, d = np.asarray(epsilons, dtype=np.float64), np.asarray(deltas, dtype=np.float64)
    if e.shape != d.shape or e.ndim != 1 or not len(e) or e.min() < 0.0 or d.min() < 0.0 or d.max() > 1.0:
        raise AuditError(
            f"privacy profile of {e.shape} epsilons and {d.shape} deltas; give one delta in [0, 1] for each epsilon of "
            "0 or more"
        )

    def curve(tpr: FloatArray) -> FloatArray:
        rate = np.asarray(tpr)[..., None]
        low, high = (rate - d) * np.exp(-e), 1.0 - d - np.exp(e) * (1.0 - rate)
        return np.asarray(np.maximum(np.maximum(low, high).max(axis=-1), 0.0))

    return curve


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the epsilon at which mu-Gaussian DP is (epsilon, delta)-DP (Balle and Wang, arXiv:1805.06530).

    Args:
        mu: not negative.
        delta: in (0, 1); at 0 no epsilon will do.

    Raises:
        AuditError: an argument out of range, or an epsilon past 1000.
    """
    if mu < 0.0 or not 0.0 < delta < 1.0:
        raise AuditError(f"mu is {mu!r} and delta {delta!r}; mu must not be negative and delta be between 0 and 1")
    if mu == 0.0 or _gaussian_log_delta(mu, 0.0) <= math.log(delta):
        return 0.0
    if _gaussian_log_delta(mu, _MOST_EPSILON) > math.log(delta):
        raise AuditError(f"mu is {mu!r}; its epsilon at delta {delta!r} is past {_MOST_EPSILON:g} and means nothing")
    return float(brentq(lambda e: _gaussian_log_delta(mu, e) - math.log(delta), 0.0, _MOST_EPSILON, xtol=1e-10))


def _gaussian_log_delta(mu: float, epsilon: float) -> float:
    """Return log(Phi(mu / 2 - epsilon / mu) - e^epsilon Phi(-mu / 2 - epsilon / mu))."""
    first = float(log_ndtr(mu / 2.0 - epsilon / mu))
    second = epsilon + float(log_ndtr(-mu / 2.0 - epsilon / mu))
    return first + math.log(-math.expm1(second - first)) if second < first else -math.inf
