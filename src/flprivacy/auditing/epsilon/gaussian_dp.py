"""Epsilon by way of Gaussian DP: the bound for mechanisms whose trade-off curve is Gaussian.

DP-SGD with many steps is close to mu-Gaussian DP (Dong, Roth and Su, arXiv:1905.02383), and a full-batch or single
Gaussian release is exactly that. Then one point on the curve fixes all of it: error rates in the middle, which a few
hundred canaries pin down well, tell about the tail where epsilon at a small delta lives (Nasr et al.,
arXiv:2302.07956). For other mechanisms the extrapolation is wrong in either direction: randomised response of epsilon 1
is "shown" to have more. Use it where the mechanism is Gaussian by construction and only its parameters are in doubt.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from flprivacy.auditing.epsilon.scores import EpsilonBound, check_levels, checked_scores
from flprivacy.auditing.epsilon.thresholds import best_rates, rates_at
from flprivacy.auditing.epsilon.trade_off import gaussian_epsilon

METHOD = "gaussian-dp"


def gaussian_dp_bound(
    members: npt.ArrayLike,
    non_members: npt.ArrayLike,
    *,
    delta: float,
    confidence: float = 0.95,
    correction: str = "bonferroni",
    threshold: float | None = None,
    seed: int = 0,
) -> EpsilonBound:
    """Return a lower bound on the epsilon of a Gaussian mechanism, from the scores of independent canaries.

    Args:
        members: (m,) scores of canaries that were trained on; higher means more like a member.
        non_members: (n,) scores of canaries that were not.
        delta: of the (epsilon, delta) in question, in (0, 1).
        confidence: with which the bound on mu holds, and with it, if the mechanism is Gaussian, that on epsilon.
        correction: ``bonferroni`` or ``split``: how choosing the threshold is paid for.
        threshold: one chosen before looking at these scores; then nothing is to be paid.
        seed: draws the halves of ``split``.

    Raises:
        AuditError: scores or levels that make no sense; a delta of 0, at which no Gaussian mechanism has an epsilon.
    """
    ins, outs = checked_scores(members, non_members)
    check_levels(confidence, delta)
    error = 1.0 - confidence
    if threshold is None:
        mu, rates = best_rates(ins, outs, proven_mu, error=error, correction=correction, seed=seed)
    else:
        rates, correction = rates_at(ins, outs, threshold, error=error), "fixed"
        mu = proven_mu(rates.false_positive, rates.false_negative)
    return EpsilonBound(
        epsilon_lower=gaussian_epsilon(mu, delta),
        confidence=confidence,
        delta=delta,
        method=METHOD,
        correction=correction,
        threshold=rates.threshold if rates and mu > 0.0 else None,
        counts=rates.counts._asdict() if rates else {},
        parameter=mu,
    )


def proven_mu(false_positive: float, false_negative: float) -> float:
    """Return the least mu, 0 or more, whose Gaussian trade-off curve allows an attack with these error rates."""
    if false_positive >= 1.0 or false_negative >= 1.0:
        return 0.0
    return max(0.0, float(-ndtri(false_positive) - ndtri(np.float64(false_negative))))
