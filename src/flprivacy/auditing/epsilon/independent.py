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
import numpy.typing as npt
from scipy.special import betainccinv, ndtri

from flprivacy.auditing.epsilon.bound import GAUSSIAN, INDEPENDENT, checked_scores, unknown_correction
from flprivacy.auditing.epsilon.f_dp import gaussian_epsilon
from flprivacy.core.dp_check import EpsilonBound
from flprivacy.core.errors import AuditError

FloatArray = npt.NDArray[np.float64]


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
        raise unknown_correction(correction)
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


def _best(candidates: Iterable[Rates], measure: Measure) -> tuple[float, Rates | None]:
    best: tuple[float, Rates | None] = (0.0, None)
    for rates in candidates:
        value = measure(rates.false_positive, rates.false_negative)
        if value > best[0]:
            best = (value, rates)
    return best


def clopper_pearson_bound(
    members: npt.ArrayLike,
    non_members: npt.ArrayLike,
    *,
    delta: float,
    confidence: float = 0.95,
    correction: str = "bonferroni",
    seed: int = 0,
) -> EpsilonBound:
    """Return a lower bound on epsilon from the scores of independent canaries; nothing is assumed of the mechanism.

    Args:
        members: (m,) scores of canaries that were trained on; higher means more like a member.
        non_members: (n,) scores of canaries that were not.
        delta: of the (epsilon, delta) in question, in [0, 1).
        confidence: with which the bound holds, in (0.5, 1).
        correction: for choosing the threshold, ``bonferroni`` or ``split``.
        seed: draws the halves of ``split``.

    Raises:
        AuditError: scores or levels that make no sense.
    """
    ins, outs = checked_scores(members, non_members, confidence, delta)

    def measure(false_positive: float, false_negative: float) -> float:
        return proven_epsilon(false_positive, false_negative, delta)

    epsilon, rates = best_rates(ins, outs, measure, error=1.0 - confidence, correction=correction, seed=seed)
    return EpsilonBound(
        method="Clopper-Pearson",
        assumes=INDEPENDENT,
        epsilon_lower=epsilon,
        confidence=confidence,
        counts=rates.counts._asdict() if rates else {},
    )


def gaussian_dp_bound(
    members: npt.ArrayLike,
    non_members: npt.ArrayLike,
    *,
    delta: float,
    confidence: float = 0.95,
    correction: str = "bonferroni",
    seed: int = 0,
) -> EpsilonBound:
    """Return a lower bound on the epsilon of a Gaussian mechanism, from the scores of independent canaries.

    Args:
        members: (m,) scores of canaries that were trained on; higher means more like a member.
        non_members: (n,) scores of canaries that were not.
        delta: of the (epsilon, delta) in question, in (0, 1).
        confidence: with which the bound on mu holds, and with it, if the mechanism is Gaussian, that on epsilon.
        correction: for choosing the threshold, ``bonferroni`` or ``split``.
        seed: draws the halves of ``split``.

    Raises:
        AuditError: scores or levels that make no sense; a delta of 0, at which no Gaussian mechanism has an epsilon.
    """
    ins, outs = checked_scores(members, non_members, confidence, delta)
    mu, rates = best_rates(ins, outs, proven_mu, error=1.0 - confidence, correction=correction, seed=seed)
    return EpsilonBound(
        method="Gaussian-DP",
        assumes=f"{GAUSSIAN}; {INDEPENDENT}",
        epsilon_lower=gaussian_epsilon(mu, delta),
        confidence=confidence,
        counts=rates.counts._asdict() if rates else {},
    )


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
