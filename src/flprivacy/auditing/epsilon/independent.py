"""Epsilon from error rates of an attack, canaries counting as independent draws.

They are draws of one canary over many runs, or of many canaries that do not influence each other. Canaries of one run
do, a little; the one-run estimators (:mod:`flprivacy.auditing.epsilon.one_run`) allow for that and these do not.

**Clopper-Pearson.** (epsilon, delta)-DP bounds every attack: TPR <= e^epsilon FPR + delta, and the same with members
and non-members exchanged (Kairouz, Oh and Viswanath, arXiv:1311.0776). Exact limits of the rates (Clopper and
Pearson, Biometrika 1934) turn that into a lower bound of epsilon (Jagielski, Ullman and Oprea, arXiv:2006.07709).

**Gaussian DP.** DP-SGD with many steps is close to mu-Gaussian DP (Dong, Roth and Su, arXiv:1905.02383), and a full-
batch or single Gaussian release is exactly that. Then one point on the curve fixes all of it: error rates in the
middle, which a few hundred canaries pin down well, tell about the tail, where epsilon at a small delta lives (Nasr et
al., arXiv:2302.07956). For other mechanisms the extrapolation is wrong in either direction: randomised response of
epsilon 1 is "shown" to have more. Use it where the mechanism is Gaussian by construction and only its parameters are
in doubt.

A threshold that looks best on the very scores that then prove something proves too much. Two ways to correct for it:

``split``: choose on one half of the scores, prove with the other.

``bonferroni``: test several thresholds, each at a share of the error. The thresholds must not be whatever the scores
suggest, so they are order statistics of one class of canaries, named by rank before looking: ``above the k-th highest
non-member``. The rate of the other class above such a threshold is an ordinary binomial proportion, since that class
had no part in choosing it. The rate of the class itself is distributed as the order statistic of uniform numbers, whose
exact limit is Clopper and Pearson's for k - 1 exceedances. Ties only make it smaller. Ranks are powers of two: some 20
tests cost far less than a thousand would, and lose little by stepping over the ranks between. (Where scores take few
values they may lose much; ``split`` is better there.)
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import betainccinv, ndtri

from flprivacy.core.array_types import FloatArray
from flprivacy.core.errors import AuditError


class Counts(NamedTuple):
    """Canaries on either side of a threshold: members above, non-members below, and the two kinds of mistake."""

    true_positives: int
    true_negatives: int
    false_positives: int
    false_negatives: int


class Rates(NamedTuple):
    """Upper limits of an attack's two error rates at a threshold, both holding together, and the canaries there."""

    false_positive: float
    false_negative: float
    threshold: float
    counts: Counts


Measure = Callable[[float, float], float]
"""(false positive rate, false negative rate) -> what they prove; larger is more."""


def best_rates(
    members: FloatArray, non_members: FloatArray, measure: Measure, *, error: float, split: bool, seed: int
) -> tuple[float, Rates | None]:
    """Return the most that a threshold proves but for a probability of ``error``, and its rates (None if nothing).

    Raises:
        AuditError: fewer than two scores to split.
    """
    if not split:
        n_tests = len(ranks(len(members))) + len(ranks(len(non_members)))
        return _best(all_rates(members, non_members, error=error / n_tests), measure)
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
        yield rates_at(members, non_members, float(falling[k - 1]), error=error, false_positives=k - 1)
    rising = np.sort(members)
    for k in ranks(len(members)):
        # Just below the k-th lowest member, so that it is above the threshold itself.
        threshold = float(np.nextafter(rising[k - 1], -np.inf))
        yield rates_at(members, non_members, threshold, error=error, false_negatives=k - 1)


def rates_at(
    members: FloatArray,
    non_members: FloatArray,
    threshold: float,
    *,
    error: float,
    false_positives: int | None = None,
    false_negatives: int | None = None,
) -> Rates:
    """Return the rates at a threshold, counting mistakes of the class that chose it, if any, by the given rank."""
    seen = count(members, non_members, threshold)
    alarms = seen.false_positives if false_positives is None else false_positives
    misses = seen.false_negatives if false_negatives is None else false_negatives
    return Rates(
        false_positive=upper_limit(alarms, len(non_members), error / 2.0),
        false_negative=upper_limit(misses, len(members), error / 2.0),
        threshold=threshold,
        counts=seen,
    )


def count(members: FloatArray, non_members: FloatArray, threshold: float) -> Counts:
    """Count the canaries above a threshold and at or below it."""
    hits, alarms = int((members > threshold).sum()), int((non_members > threshold).sum())
    return Counts(hits, len(non_members) - alarms, alarms, len(members) - hits)


def upper_limit(successes: int, n: int, error: float) -> float:
    """Return Clopper and Pearson's one-sided upper limit of a proportion, wrong with probability ``error`` at most."""
    return float(betainccinv(successes + 1, n - successes, error)) if successes < n else 1.0


def _best(candidates: Iterable[Rates], measure: Measure) -> tuple[float, Rates | None]:
    best: tuple[float, Rates | None] = (0.0, None)
    for rates in candidates:
        value = measure(rates.false_positive, rates.false_negative)
        if value > best[0]:
            best = (value, rates)
    return best


def proven_epsilon(false_positive: float, false_negative: float, delta: float) -> float:
    """Return the least epsilon, 0 or more, that allows an attack with these error rates at this delta."""
    ratios = []
    for mistake, other in ((false_positive, false_negative), (false_negative, false_positive)):
        shown = 1.0 - other - delta
        if shown > 0.0:
            ratios.append(math.log(shown / mistake) if mistake > 0.0 else math.inf)
    return max([0.0, *ratios])


def proven_mu(false_positive: float, false_negative: float) -> float:
    """Return the least mu, 0 or more, whose Gaussian trade-off curve allows an attack with these error rates."""
    if false_positive >= 1.0 or false_negative >= 1.0:
        return 0.0
    return max(0.0, float(-ndtri(false_positive) - ndtri(np.float64(false_negative))))
