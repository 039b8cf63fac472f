"""Epsilon from one run, by way of a whole trade-off curve (Mahloujifar, Melis and Chaudhuri, arXiv:2410.22235).

An (epsilon, delta) pair throws away most of what is known about a mechanism. If the curve that it is supposed to keep
is known - Gaussian of some mu, or an accountant's - far fewer correct guesses contradict it. The recursion bounds from
below how much probability the other numbers of correct guesses must have if many are likely; if that is more than 1,
the curve is broken.

With r(i) and h(i) the expected shares of canaries guessed right and wrong in outcomes of at least i correct guesses, an
outcome of i correct guesses turns into one of i - 1 when the coin of a rightly guessed canary is changed. So the curve
gives h(i) >= curve(r(i + 1)), and r grows with h in the proportion i : (guesses - i).
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.epsilon.guesses import best_guesses
from flprivacy.auditing.epsilon.scores import EpsilonBound, check_levels, checked_scores
from flprivacy.auditing.epsilon.trade_off import Curve, approximate_curve, gaussian_curve, gaussian_epsilon
from flprivacy.core.errors import AuditError

FloatArray = npt.NDArray[np.float64]

METHOD = "one-run-f-dp"
FAMILIES = ("gaussian", "approximate")
_GRID, _ROUNDS = 33, 3
_MOST_MU, _MOST_EPSILON = 16.0, 64.0


def f_dp_bound(
    members: npt.ArrayLike,
    non_members: npt.ArrayLike,
    *,
    delta: float,
    confidence: float = 0.95,
    family: str = "gaussian",
    correction: str = "bonferroni",
    n_guesses: int | None = None,
    seed: int = 0,
) -> EpsilonBound:
    """Return a lower bound on epsilon from the canaries of a single run and the shape of the mechanism's curve.

    Args:
        members: scores of the canaries whose fair coin put them in; higher means more like a member.
        non_members: scores of the canaries whose coin kept them out.
        delta: of the (epsilon, delta) in question, in (0, 1).
        confidence: with which the bound holds, for mechanisms of the family.
        family: ``gaussian`` (mu-Gaussian DP: for Gaussian mechanisms only) or ``approximate`` ((epsilon, delta)-DP:
            nothing assumed).
        correction: ``bonferroni`` or ``split``: how choosing the number of guesses is paid for.
        n_guesses: a number chosen before looking at these scores; then nothing is to be paid.
        seed: orders equal scores and draws the halves of ``split``.

    Raises:
        AuditError: scores, levels or a family that make no sense.
    """
    ins, outs = checked_scores(members, non_members)
    check_levels(confidence, delta)

    def prove(canaries: int, guesses: int, correct: int, error: float) -> float:
        return f_dp_parameter(canaries, guesses, correct, family=family, delta=delta, confidence=1.0 - error)

    parameter, made, how = best_guesses(
        ins, outs, prove, error=1.0 - confidence, correction=correction, n_guesses=n_guesses, seed=seed
    )
    return EpsilonBound(
        epsilon_lower=gaussian_epsilon(parameter, delta) if family == "gaussian" else parameter,
        confidence=confidence,
        delta=delta,
        method=METHOD,
        correction=how,
        counts={"canaries": made.canaries, "guesses": made.guesses, "correct": made.correct},
        parameter=parameter,
    )


@lru_cache(maxsize=65536)
def f_dp_parameter(
    canaries: int, guesses: int, correct: int, *, family: str, delta: float, confidence: float = 0.95
) -> float:
    """Return the largest parameter of a family of curves that the guesses contradict; 0 if they contradict none.

    Args:
        canaries: that fair coins put in or kept out.
        guesses: made at the coins, a number fixed before looking.
        correct: of those.
        family: ``gaussian`` (the parameter is mu) or ``approximate`` (it is epsilon).
        delta: of the ``approximate`` family.
        confidence: with which every larger parameter is possible and this one is not.

    Raises:
        AuditError: counts, levels or a family that make no sense.
    """
    check_levels(confidence, delta)
    if family not in FAMILIES:
        raise AuditError(f"family is {family!r}; must be one of {', '.join(FAMILIES)}")
    curve_of: Callable[[FloatArray], Curve] = gaussian_curve
    high = _MOST_MU
    if family == "approximate":
        curve_of, high = (lambda epsilon: approximate_curve(epsilon, delta)), _MOST_EPSILON
    low = 0.0
    for round_ in range(_ROUNDS):
        grid = np.linspace(low, high, _GRID)
        broken = contradicts(curve_of(grid), canaries, guesses, correct, error=1.0 - confidence)
        kept = int(np.flatnonzero(broken).max(initial=-1))
        if kept < 0:
            # Not even the least parameter is contradicted: nothing is proven (only possible in the first round).
            return 0.0 if round_ == 0 else low
        if kept == _GRID - 1:
            return high
        low, high = float(grid[kept]), float(grid[kept + 1])
    return low


def claim_p_value(curve: Curve, canaries: int, guesses: int, correct: int) -> float:
    """Return the most probability with which a mechanism that keeps the curve allows this many correct guesses.

    Tests a claim as a whole, such as an accountant's profile
    (:func:`flprivacy.auditing.epsilon.trade_off.profile_curve`), where a bound on one epsilon would lose strength.

    Args:
        curve: what is claimed.
        canaries: that fair coins put in or kept out.
        guesses: made at the coins, a number fixed before looking.
        correct: of those.

    Returns:
        A p-value, to 1% of itself, never too small; below 1e-12 it is 1e-12.
    """
    low, high = np.log(1e-12), 0.0
    if contradicts(curve, canaries, guesses, correct, error=1e-12).all():
        return 1e-12
    while high - low > 0.01:
        middle = 0.5 * (low + high)
        if contradicts(curve, canaries, guesses, correct, error=float(np.exp(middle))).all():
            high = middle
        else:
            low = middle
    return float(np.exp(high))


def contradicts(curve: Curve, canaries: int, guesses: int, correct: int, *, error: float) -> npt.NDArray[np.bool_]:
    """Return whether a mechanism that keeps the curve has this many correct guesses with less than ``error``.

    Args:
        curve: true positive rates -> least false positive rates; may be many curves at once by broadcasting.
        canaries: that fair coins put in or kept out.
        guesses: made at the coins, a number fixed before looking.
        correct: of those.
        error: probability in question.

    Returns:
        One answer for each curve.

    Raises:
        AuditError: counts that make no sense.
    """
    if not 0 <= correct <= guesses <= canaries or guesses == 0:
        raise AuditError(
            f"{correct} correct of {guesses} guesses at {canaries} canaries; each must not exceed the next"
        )
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
