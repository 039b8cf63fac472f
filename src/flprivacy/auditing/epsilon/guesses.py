"""One run: canaries included by fair coins, and an attacker's guesses at the coins.

Each of m canaries is in the training data or not by the toss of a fair coin. The attacker ranks them by score, guesses
"in" for the highest, "out" for the lowest, and abstains in between. How many it gets right tells about epsilon, and
because all canaries are in one run, one training is enough (Steinke, Nasr and Jagielski, arXiv:2305.08846).

The number of guesses must not depend on the answers, so guesses are made by rank, not by threshold. Choosing the number
by looking is paid for like a threshold: several numbers each at a share of the error, or on one half of the canaries
for use on the other (whose coins the first half does not know).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.epsilon.thresholds import CORRECTIONS
from flprivacy.core.errors import AuditError

FloatArray = npt.NDArray[np.float64]
Coins = npt.NDArray[np.bool_]

_LEAST_GUESSES = 15

Prove = Callable[[int, int, int, float], float]
"""(canaries, guesses, correct guesses, error) -> what they prove; larger is more, 0 is nothing."""


@dataclass(frozen=True, kw_only=True)
class Guesses:
    """Guesses at the coins of one run.

    Attributes:
        canaries: that were tossed for.
        guesses: made.
        correct: of those.
    """

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
    return Guesses(canaries=len(ranked), guesses=n_guesses, correct=correct)


def guess_numbers(canaries: int) -> list[int]:
    """Return the numbers of guesses that are tried: all canaries, half of them, a quarter, down to a few."""
    halved = [canaries // 2**j for j in range(canaries.bit_length())]
    return [number for number in halved if number >= min(_LEAST_GUESSES, canaries)]


def best_guesses(
    members: FloatArray,
    non_members: FloatArray,
    prove: Prove,
    *,
    error: float,
    correction: str,
    n_guesses: int | None,
    seed: int,
) -> tuple[float, Guesses, str]:
    """Return the most that the guesses prove, the guesses, and how their number was chosen.

    Args:
        members: scores of the canaries whose coin said in.
        non_members: scores of the others.
        prove: what a number of correct guesses proves.
        error: probability with which the result may be wrong.
        correction: ``bonferroni`` or ``split``.
        n_guesses: a number chosen before looking; then nothing is to be paid.
        seed: orders equal scores and draws the halves of ``split``.

    Raises:
        AuditError: an unknown correction, or more guesses than canaries.
    """
    rng = np.random.default_rng([seed])
    ranked = rank(members, non_members, rng)
    canaries = len(ranked)
    if n_guesses is not None:
        if not 1 <= n_guesses <= canaries:
            raise AuditError(f"n_guesses is {n_guesses!r}; must be between 1 and the {canaries} canaries")
        made = guess(ranked, n_guesses)
        return _proven(prove, made, error), made, "fixed"
    if correction == "bonferroni":
        return *_best(ranked, prove, error / len(guess_numbers(canaries))), correction
    if correction != "split":
        raise AuditError(f"correction is {correction!r}; must be one of {', '.join(CORRECTIONS)}")
    if canaries < 4:
        raise AuditError(f"split needs at least 4 canaries, not {canaries}; give more or use bonferroni")
    # Drawn over all canaries at once, whatever their coins, which so stay fair and independent in both halves.
    proving = np.zeros(canaries, dtype=bool)
    proving[rng.permutation(canaries)[canaries // 2 :]] = True
    _, chosen = _best(ranked[~proving], prove, error)
    made = guess(ranked[proving], max(1, round(chosen.guesses * int(proving.sum()) / chosen.canaries)))
    return _proven(prove, made, error), made, correction


def _best(ranked: Coins, prove: Prove, error: float) -> tuple[float, Guesses]:
    tried = [guess(ranked, number) for number in guess_numbers(len(ranked))]
    proven = [_proven(prove, made, error) for made in tried]
    best = int(np.argmax(proven))
    return proven[best], tried[best]


def _proven(prove: Prove, made: Guesses, error: float) -> float:
    return prove(made.canaries, made.guesses, made.correct, error)
