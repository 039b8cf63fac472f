"""Choosing a threshold by looking at the scores, and paying for it.

A threshold that looks best on the very scores that then prove something proves too much. Two ways to pay:

``split``: choose on one half of the scores, prove with the other.

``bonferroni``: test several thresholds, each at a share of the error. The thresholds must not be whatever the scores
suggest, so they are order statistics of one class of canaries, named by rank before looking: ``above the k-th highest
non-member``. The rate of the other class above such a threshold is an ordinary binomial proportion, since that class
had no part in choosing it. The rate of the class itself is distributed as the order statistic of uniform numbers, whose
exact limit is Clopper and Pearson's for k - 1 exceedances. Ties only make it smaller. Ranks are powers of two: some 20
tests pay far less than a thousand would, and lose little by stepping over the ranks between. (Where scores take few
values they may lose much; ``split`` is better there.)
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import betainccinv

from flprivacy.core.errors import AuditError

FloatArray = npt.NDArray[np.float64]

CORRECTIONS = ("bonferroni", "split")


class Counts(NamedTuple):
    """Canaries on either side of a threshold: members above, non-members below, and the two kinds of mistake."""

    true_positives: int
    true_negatives: int
    false_positives: int
    false_negatives: int


class Rates(NamedTuple):
    """Upper limits of an attack's two error rates, both holding together with the stated confidence.

    Attributes:
        false_positive: above which the true false positive rate is not.
        false_negative: above which the true false negative rate is not.
        threshold: of the attack.
        counts: of the canaries at that threshold.
    """

    false_positive: float
    false_negative: float
    threshold: float
    counts: Counts


Measure = Callable[[float, float], float]
"""(false positive rate, false negative rate) -> what they prove; larger is more."""


def best_rates(
    members: FloatArray, non_members: FloatArray, measure: Measure, *, error: float, correction: str, seed: int
) -> tuple[float, Rates | None]:
    """Return the most that a threshold proves, and its rates (None if nothing).

    Args:
        members: (m,) scores.
        non_members: (n,) scores.
        measure: what two error rates prove.
        error: probability with which the result may be wrong.
        correction: ``bonferroni`` or ``split``.
        seed: draws the halves of ``split``.

    Raises:
        AuditError: an unknown correction, or fewer than two scores to split.
    """
    if correction == "bonferroni":
        n_tests = len(ranks(len(members))) + len(ranks(len(non_members)))
        return _best(all_rates(members, non_members, error=error / n_tests), measure)
    if correction != "split":
        raise AuditError(f"correction is {correction!r}; must be one of {', '.join(CORRECTIONS)}")
    if min(len(members), len(non_members)) < 2:
        raise AuditError("split needs at least two scores of each kind; give more canaries or use bonferroni")
    rng = np.random.default_rng([seed])
    (chosen_in, proving_in), (chosen_out, proving_out) = (_halves(a, rng) for a in (members, non_members))
    _, chosen = _best(all_rates(chosen_in, chosen_out, error=error), measure)
    if chosen is None:
        return 0.0, None
    return _best([rates_at(proving_in, proving_out, chosen.threshold, error=error)], measure)


def _halves(scores: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Cut scores at random into two parts, the second the larger by at most one."""
    order = rng.permutation(len(scores))
    return scores[order[: len(scores) // 2]], scores[order[len(scores) // 2 :]]


def ranks(n: int) -> list[int]:
    """Return the ranks that are tested among ``n`` order statistics: the powers of two up to ``n``."""
    return [2**j for j in range(n.bit_length())]


def all_rates(members: FloatArray, non_members: FloatArray, *, error: float) -> Iterator[Rates]:
    """Yield the rates at every tested threshold, each pair of limits wrong with probability ``error`` at most."""
    falling = np.sort(non_members)[::-1]
    for k in ranks(len(non_members)):
        threshold = float(falling[k - 1])
        counts = count(members, non_members, threshold)
        yield Rates(
            false_positive=upper_limit(k - 1, len(non_members), error / 2.0),
            false_negative=upper_limit(counts.false_negatives, len(members), error / 2.0),
            threshold=threshold,
            counts=counts,
        )
    rising = np.sort(members)
    for k in ranks(len(members)):
        # Just below the k-th lowest member, so that it is above the threshold itself.
        threshold = float(np.nextafter(rising[k - 1], -np.inf))
        counts = count(members, non_members, threshold)
        yield Rates(
            false_positive=upper_limit(counts.false_positives, len(non_members), error / 2.0),
            false_negative=upper_limit(k - 1, len(members), error / 2.0),
            threshold=threshold,
            counts=counts,
        )


def rates_at(members: FloatArray, non_members: FloatArray, threshold: float, *, error: float) -> Rates:
    """Return the rates at a threshold that was chosen without these scores."""
    counts = count(members, non_members, threshold)
    return Rates(
        false_positive=upper_limit(counts.false_positives, len(non_members), error / 2.0),
        false_negative=upper_limit(counts.false_negatives, len(members), error / 2.0),
        threshold=threshold,
        counts=counts,
    )


def count(members: FloatArray, non_members: FloatArray, threshold: float) -> Counts:
    """Count the canaries above a threshold and at or below it."""
    hits, alarms = int((members > threshold).sum()), int((non_members > threshold).sum())
    return Counts(hits, len(non_members) - alarms, alarms, len(members) - hits)


def upper_limit(successes: int, n: int, error: float) -> float:
    """Return Clopper and Pearson's one-sided upper limit of a proportion, wrong with probability ``error`` at most."""
    return float(betainccinv(successes + 1, n - successes, error)) if successes < n else 1.0


def lower_limit(successes: int, n: int, error: float) -> float:
    """Return Clopper and Pearson's one-sided lower limit of a proportion, wrong with probability ``error`` at most."""
    return 1.0 - upper_limit(n - successes, n, error)


def _best(candidates: Iterator[Rates] | list[Rates], measure: Measure) -> tuple[float, Rates | None]:
    best: tuple[float, Rates | None] = (0.0, None)
    for rates in candidates:
        value = measure(rates.false_positive, rates.false_negative)
        if value > best[0]:
            best = (value, rates)
    return best
