"""Epsilon from one run (Steinke, Nasr and Jagielski, arXiv:2305.08846).

If training is (epsilon, delta)-DP, the number of correct guesses is hardly larger than a binomial number of successes
of randomised response, which is right with probability e^epsilon / (1 + e^epsilon). Delta adds a little: an attacker
may learn some coins outright with probability delta each. Nothing else is assumed of training.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binom

from flprivacy.auditing.epsilon.guesses import best_guesses
from flprivacy.auditing.epsilon.scores import EpsilonBound, check_levels, checked_scores
from flprivacy.core.errors import AuditError

METHOD = "one-run"
_MOST_EPSILON = 64.0


def one_run_bound(
    members: npt.ArrayLike,
    non_members: npt.ArrayLike,
    *,
    delta: float,
    confidence: float = 0.95,
    correction: str = "bonferroni",
    n_guesses: int | None = None,
    seed: int = 0,
) -> EpsilonBound:
    """Return a lower bound on epsilon from the canaries of a single run.

    Args:
        members: scores of the canaries whose fair coin put them in; higher means more like a member.
        non_members: scores of the canaries whose coin kept them out.
        delta: of the (epsilon, delta) in question, in [0, 1).
        confidence: with which the bound holds.
        correction: ``bonferroni`` or ``split``: how choosing the number of guesses is paid for.
        n_guesses: a number chosen before looking at these scores; then nothing is to be paid.
        seed: orders equal scores and draws the halves of ``split``.

    Raises:
        AuditError: scores or levels that make no sense.
    """
    ins, outs = checked_scores(members, non_members)
    check_levels(confidence, delta)

    def prove(canaries: int, guesses: int, correct: int, error: float) -> float:
        return one_run_epsilon(canaries, guesses, correct, delta=delta, confidence=1.0 - error)

    epsilon, made, how = best_guesses(
        ins, outs, prove, error=1.0 - confidence, correction=correction, n_guesses=n_guesses, seed=seed
    )
    return EpsilonBound(
        epsilon_lower=epsilon,
        confidence=confidence,
        delta=delta,
        method=METHOD,
        correction=how,
        counts={"canaries": made.canaries, "guesses": made.guesses, "correct": made.correct},
    )


@lru_cache(maxsize=65536)
def one_run_epsilon(canaries: int, guesses: int, correct: int, *, delta: float, confidence: float = 0.95) -> float:
    """Return the lower bound on epsilon from a number of guesses that was fixed before looking.

    Args:
        canaries: that fair coins put in or kept out.
        guesses: made at the coins.
        correct: of those.
        delta: of the (epsilon, delta) in question, in [0, 1).
        confidence: with which the bound holds.

    Raises:
        AuditError: counts or levels that make no sense.
    """
    if not 0 <= correct <= guesses <= canaries or guesses == 0:
        raise AuditError(
            f"{correct} correct of {guesses} guesses at {canaries} canaries; each must not exceed the next"
        )
    check_levels(confidence, delta)
    error = 1.0 - confidence

    def excess(epsilon: float) -> float:
        return one_run_p_value(canaries, guesses, correct, epsilon=epsilon, delta=delta) - error

    if excess(0.0) >= 0.0:
        return 0.0
    if excess(_MOST_EPSILON) < 0.0:
        return _MOST_EPSILON
    root = float(brentq(excess, 0.0, _MOST_EPSILON, xtol=1e-9))
    return max(0.0, root - 1e-8)


def one_run_p_value(canaries: int, guesses: int, correct: int, *, epsilon: float, delta: float) -> float:
    """Return the most probability with which an (epsilon, delta)-DP run allows this many correct guesses.

    Theorem 3.1 of the paper: the binomial tail, plus 2 m delta times the steepest mean slope of the tail below it.
    """
    right = float(expit(epsilon))
    tail = float(binom.sf(correct - 1, guesses, right))
    if delta == 0.0 or correct == 0:
        return tail
    steps = np.arange(1, correct + 1)
    between = binom.sf(correct - steps - 1, guesses, right) - tail
    return min(1.0, tail + 2.0 * canaries * delta * max(0.0, float((between / steps).max())))
