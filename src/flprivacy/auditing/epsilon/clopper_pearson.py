"""Epsilon from error rates alone: nothing is assumed of the mechanism.

(epsilon, delta)-DP bounds every attack: TPR <= e^epsilon FPR + delta, and the same for its mistakes the other way round
(Kairouz, Oh and Viswanath, arXiv:1311.0776). Exact limits of the rates (Clopper and Pearson, Biometrika 1934) turn that
into a lower bound of epsilon (Jagielski, Ullman and Oprea, arXiv:2006.07709).

The canaries count as independent draws: of one canary over many runs, or of many canaries that do not influence each
other. Canaries of one run do, a little; the one-run estimators (:mod:`flprivacy.auditing.epsilon.one_run`) allow for
that and this one does not.
"""

import math

import numpy.typing as npt

from flprivacy.auditing.epsilon.scores import EpsilonBound, check_levels, checked_scores
from flprivacy.auditing.epsilon.thresholds import best_rates, lower_limit, rates_at, upper_limit
from flprivacy.core.errors import AuditError

METHOD = "clopper-pearson"


def clopper_pearson_bound(
    members: npt.ArrayLike,
    non_members: npt.ArrayLike,
    *,
    delta: float,
    confidence: float = 0.95,
    correction: str = "bonferroni",
    threshold: float | None = None,
    seed: int = 0,
) -> EpsilonBound:
    """Return a lower bound on epsilon from the scores of independent canaries.

    Args:
        members: (m,) scores of canaries that were trained on; higher means more like a member.
        non_members: (n,) scores of canaries that were not.
        delta: of the (epsilon, delta) in question, in [0, 1).
        confidence: with which the bound holds.
        correction: ``bonferroni`` or ``split``: how choosing the threshold is paid for.
        threshold: one chosen before looking at these scores; then nothing is to be paid.
        seed: draws the halves of ``split``.

    Raises:
        AuditError: scores or levels that make no sense.
    """
    ins, outs = checked_scores(members, non_members)
    check_levels(confidence, delta)
    error = 1.0 - confidence

    def measure(false_positive: float, false_negative: float) -> float:
        return proven_epsilon(false_positive, false_negative, delta)

    if threshold is None:
        epsilon, rates = best_rates(ins, outs, measure, error=error, correction=correction, seed=seed)
    else:
        rates, correction = rates_at(ins, outs, threshold, error=error), "fixed"
        epsilon = measure(rates.false_positive, rates.false_negative)
    return EpsilonBound(
        epsilon_lower=epsilon,
        confidence=confidence,
        delta=delta,
        method=METHOD,
        correction=correction,
        threshold=rates.threshold if rates and epsilon > 0.0 else None,
        counts=rates.counts._asdict() if rates else {},
    )


def clopper_pearson_interval(
    *,
    true_positives: int,
    true_negatives: int,
    false_positives: int,
    false_negatives: int,
    delta: float,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Return the interval of the epsilon that an attack with these counts shows, at a threshold fixed before looking.

    The lower end bounds the mechanism's epsilon. The upper end bounds only what *this attack* can show; it says nothing
    about how private the mechanism is, and is infinite wherever an error rate may be 0.

    Raises:
        AuditError: negative counts, no member or no non-member, or levels that make no sense.
    """
    counts = (true_positives, true_negatives, false_positives, false_negatives)
    m, n = true_positives + false_negatives, true_negatives + false_positives
    if min(counts) < 0 or not m or not n:
        raise AuditError(f"counts are {counts}; none may be negative, and there must be members and non-members")
    check_levels(confidence, delta)
    # Both rates from both sides: four limits share the error.
    error = (1.0 - confidence) / 4.0
    low = proven_epsilon(upper_limit(false_positives, n, error), upper_limit(false_negatives, m, error), delta)
    high = proven_epsilon(lower_limit(false_positives, n, error), lower_limit(false_negatives, m, error), delta)
    return low, high


def proven_epsilon(false_positive: float, false_negative: float, delta: float) -> float:
    """Return the least epsilon, 0 or more, that allows an attack with these error rates at this delta."""
    ratios = []
    for mistake, other in ((false_positive, false_negative), (false_negative, false_positive)):
        shown = 1.0 - other - delta
        if shown > 0.0:
            ratios.append(math.log(shown / mistake) if mistake > 0.0 else math.inf)
    return max([0.0, *ratios])
