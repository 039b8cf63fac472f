"""Epsilon from one run, by way of a whole trade-off curve (Mahloujifar, Melis and Chaudhuri, arXiv:2410.22235).

An (epsilon, delta) pair throws away most of what is known about a mechanism. If the curve that it is supposed to keep
is known - Gaussian of some mu, or an accountant's - far fewer correct guesses contradict it. The recursion bounds from
below how much probability the other numbers of correct guesses must have if many are likely; if that is more than 1,
the curve is broken.

With r(i) and h(i) the expected shares of canaries guessed right and wrong in outcomes of at least i correct guesses, an
outcome of i correct guesses turns into one of i - 1 when the coin of a rightly guessed canary is changed. So the curve
gives h(i) >= curve(r(i + 1)), and r grows with h in the proportion i : (guesses - i).
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtr, ndtri

from flprivacy.auditing.epsilon.one_run import check_counts, check_levels
from flprivacy.core.array_types import BoolArray, FloatArray
from flprivacy.core.errors import AuditError

Curve = Callable[[FloatArray], FloatArray]
"""True positive rates -> the least false positive rates, both in [0, 1]; increasing and convex (arXiv:1905.02383)."""

_GRID, _ROUNDS, _MOST_MU = 33, 3, 16.0
_MOST_EPSILON = 1000.0


@lru_cache(maxsize=65536)
def one_run_mu(canaries: int, guesses: int, correct: int, *, confidence: float = 0.95) -> float:
    """Return the largest mu whose Gaussian curve the guesses contradict; 0 if they contradict none.

    Args:
        canaries: that fair coins put in or kept out.
        guesses: made at the coins, a number fixed before looking.
        correct: of those.
        confidence: with which this mu is too small to be true.

    Raises:
        AuditError: counts or levels that make no sense.
    """
    check_levels(confidence, 0.0)
    low, high = 0.0, _MOST_MU
    for round_ in range(_ROUNDS):
        grid = np.linspace(low, high, _GRID)
        broken = contradicts(gaussian_curve(grid), canaries, guesses, correct, error=1.0 - confidence)
        kept = int(np.flatnonzero(broken).max(initial=-1))
        if kept < 0:
            # Not even the least mu is contradicted: nothing is proven (only possible in the first round).
            return 0.0 if round_ == 0 else low
        if kept == _GRID - 1:
            return high
        low, high = float(grid[kept]), float(grid[kept + 1])
    return low


def contradicts(curve: Curve, canaries: int, guesses: int, correct: int, *, error: float) -> BoolArray:
    """Return whether a mechanism that keeps the curve has this many correct guesses with less than ``error``.

    The curve may be many at once by broadcasting; there is one answer for each.

    Raises:
        AuditError: counts that make no sense.
    """
    check_counts(canaries, guesses, correct)
    right = np.asarray(error * correct / canaries + 0.0 * curve(np.asarray(0.5)))
    wrong = np.full_like(right, error * (guesses - correct) / canaries)
    whole = guesses / canaries
    for i in range(correct - 1, -1, -1):
        grown = np.maximum(wrong, curve(right))
        right = np.minimum(right + (grown - wrong) * (i / (guesses - i)), 1.0)
        settled = (grown == wrong) | (right + grown > whole)
        wrong = grown
        # Where wrong did not grow it never will again; past the whole the answer is known.
        if settled.all():
            break
    return np.asarray(right + wrong > whole)


def gaussian_curve(mu: npt.ArrayLike) -> Curve:
    """Return the curve of telling N(mu, 1) from N(0, 1): mu-Gaussian DP. Broadcasts over an array of mu."""
    shift = np.asarray(mu, dtype=np.float64)
    return lambda tpr: ndtr(ndtri(tpr) - shift)


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
    from scipy.optimize import brentq  # slow to import: only where it is used

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
