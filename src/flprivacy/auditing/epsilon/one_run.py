"""Epsilon from one run: canaries included by fair coins, and an attacker's guesses at the coins.

Each of m canaries is in the training data or not by the toss of a fair coin. The attacker ranks them by score, guesses
"in" for the highest, "out" for the lowest, and abstains in between. How many it gets right tells about epsilon, and
because all canaries are in one run, one training is enough (Steinke, Nasr and Jagielski, arXiv:2305.08846): if training
is (epsilon, delta)-DP, the number of correct guesses is hardly larger than a binomial number of successes of randomised
response, which is right with probability e^epsilon / (1 + e^epsilon). Delta adds a little: an attacker may learn some
coins outright with probability delta each. Nothing else is assumed of training.

The number of guesses must not depend on the answers, so guesses are made by rank, not by threshold. Choosing the number
by looking is corrected for like a threshold: several numbers each at a share of the error, or on one half of the
canaries for use on the other (whose coins the first half does not know).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from flprivacy.core.array_types import BoolArray, FloatArray
from flprivacy.core.errors import AuditError

Coins = BoolArray

_LEAST_GUESSES = 15
_MOST_EPSILON = 64.0

Prove = Callable[..., float]
"""(canaries, guesses, correct guesses, *, confidence) -> what they prove; larger is more, 0 is nothing."""


class Guesses(NamedTuple):
    """Guesses at the coins of one run: canaries that were tossed for, guesses made, and how many were correct."""

    canaries: int
    guesses: int
    correct: int


def rank(members: FloatArray, non_members: FloatArray, rng: np.random.Generator) -> Coins:
    """Return (canary,) the canaries' coins, True for in, from the lowest score to the highest.

    Equal scores are put in a random order: an order that had to do with membership would be cheating.
    """
    scores = np.concatenate([members, non_members])
    coins = np.arange(len(scores)) < len(members)
    return coins[np.lexsort((rng.random(len(scores)), scores))]


def guess(ranked: Coins, n_guesses: int) -> Guesses:
    """Guess "in" for the highest-scored half of ``n_guesses`` and "out" for the lowest-scored half."""
    n_in = (n_guesses + 1) // 2
    n_out = n_guesses - n_in
    correct = int(ranked[len(ranked) - n_in :].sum()) + n_out - int(ranked[:n_out].sum())
    return Guesses(len(ranked), n_guesses, correct)


def guess_numbers(canaries: int) -> list[int]:
    """Return the numbers of guesses that are tried: all canaries, half of them, a quarter, down to a few."""
    halved = [canaries // 2**j for j in range(canaries.bit_length())]
    return [number for number in halved if number >= min(_LEAST_GUESSES, canaries)]


def best_guesses(
    members: FloatArray, non_members: FloatArray, prove: Prove, *, error: float, split: bool, seed: int
) -> tuple[float, Guesses]:
    """Return the most that the guesses prove but for a probability of ``error``, and the guesses.

    Raises:
        AuditError: too few canaries to split.
    """
    rng = np.random.default_rng([seed])
    ranked = rank(members, non_members, rng)
    canaries = len(ranked)
    if not split:
        return _best(ranked, prove, error / len(guess_numbers(canaries)))
    if canaries < 4:
        raise AuditError(f"split needs at least 4 canaries, not {canaries}; give more or use bonferroni")
    # Drawn over all canaries at once, whatever their coins, which so stay fair and independent in both halves.
    proving = np.zeros(canaries, dtype=bool)
    proving[rng.permutation(canaries)[canaries // 2 :]] = True
    _, chosen = _best(ranked[~proving], prove, error)
    made = guess(ranked[proving], max(1, round(chosen.guesses * int(proving.sum()) / chosen.canaries)))
    return prove(*made, confidence=1.0 - error), made


def _best(ranked: Coins, prove: Prove, error: float) -> tuple[float, Guesses]:
    tried = [guess(ranked, number) for number in guess_numbers(len(ranked))]
    proven = [prove(*made, confidence=1.0 - error) for made in tried]
    best = int(np.argmax(proven))
    return proven[best], tried[best]


def check_levels(confidence: float, delta: float) -> None:
    """Refuse a confidence outside (0.5, 1) or a delta outside [0, 1).

    Raises:
        AuditError: naming the value.
    """
    if not 0.5 < confidence < 1.0:
        raise AuditError(f"confidence is {confidence!r}; must be between 0.5 and 1, such as 0.95")
    if not 0.0 <= delta < 1.0:
        raise AuditError(f"delta is {delta!r}; must be at least 0 and below 1")


def check_counts(canaries: int, guesses: int, correct: int) -> None:
    """Refuse counts that make no sense.

    Raises:
        AuditError: more correct guesses than guesses, more guesses than canaries, or no guess.
    """
    if not 0 <= correct <= guesses <= canaries or guesses == 0:
        raise AuditError(
            f"{correct} correct of {guesses} guesses at {canaries} canaries; each must not exceed the next"
        )


@lru_cache(maxsize=65536)
def one_run_epsilon(canaries: int, guesses: int, correct: int, *, delta: float, confidence: float = 0.95) -> float:
    """Return the lower bound on epsilon from a number of guesses that was fixed before looking.

    Raises:
        AuditError: counts or levels that make no sense.
    """
    check_counts(canaries, guesses, correct)
    check_levels(confidence, delta)
    error = 1.0 - confidence

    from scipy.optimize import brentq  # slow to import: only where it is used

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
    from scipy.stats import binom  # slow to import: only where it is used

    right = float(expit(epsilon))
    tail = float(binom.sf(correct - 1, guesses, right))
    if delta == 0.0 or correct == 0:
        return tail
    steps = np.arange(1, correct + 1)
    between = binom.sf(correct - steps - 1, guesses, right) - tail
    return min(1.0, tail + 2.0 * canaries * delta * max(0.0, float((between / steps).max())))
