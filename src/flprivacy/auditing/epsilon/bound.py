"""A lower bound on epsilon from the scores of canaries, by one of the methods."""

from functools import partial

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.epsilon.f_dp import gaussian_epsilon, one_run_mu
from flprivacy.auditing.epsilon.independent import best_rates, proven_epsilon, proven_mu
from flprivacy.auditing.epsilon.one_run import best_guesses, check_levels, one_run_epsilon
from flprivacy.core.dp_check import EpsilonBound
from flprivacy.core.errors import AuditError

CORRECTIONS = ("bonferroni", "split")
GAUSSIAN = "Gaussian noise, of whatever size"
INDEPENDENT = "canaries that do not influence each other"
# Method -> what it assumes beyond a fair coin that decided which canaries were in.
METHODS = {
    "one-run": (),
    "one-run f-DP": (GAUSSIAN,),
    "Clopper-Pearson": (INDEPENDENT,),
    "Gaussian-DP": (GAUSSIAN, INDEPENDENT),
}


def epsilon_bound(
    method: str,
    members: npt.ArrayLike,
    non_members: npt.ArrayLike,
    *,
    delta: float,
    confidence: float = 0.95,
    correction: str = "bonferroni",
    seed: int = 0,
) -> EpsilonBound:
    """Return a lower bound on epsilon.

    Args:
        method: one of ``METHODS``.
        members: (m,) scores of canaries that were trained on; higher means more like a member.
        non_members: (n,) scores of canaries that were not.
        delta: of the (epsilon, delta) in question, in [0, 1); not 0 for methods that assume Gaussian noise.
        confidence: with which the bound holds if what the method assumes is true, in (0.5, 1).
        correction: for choosing the threshold or the number of guesses, ``bonferroni`` or ``split``.
        seed: orders equal scores and draws the halves of ``split``.

    Raises:
        AuditError: scores or levels that make no sense, an unknown correction, too few canaries to split.
    """
    check_levels(confidence, delta)
    ins, outs = _flat("member", members), _flat("non-member", non_members)
    if correction not in CORRECTIONS:
        raise AuditError(f"correction is {correction!r}; must be one of {', '.join(CORRECTIONS)}")
    gaussian, error, split = GAUSSIAN in METHODS[method], 1.0 - confidence, correction == "split"
    if INDEPENDENT in METHODS[method]:
        measure = proven_mu if gaussian else partial(proven_epsilon, delta=delta)
        value, rates = best_rates(ins, outs, measure, error=error, split=split, seed=seed)
        counts = rates.counts._asdict() if rates else {}
    else:
        prove = one_run_mu if gaussian else partial(one_run_epsilon, delta=delta)
        value, made = best_guesses(ins, outs, prove, error=error, split=split, seed=seed)
        counts = made._asdict()
    return EpsilonBound(
        method=method,
        assumes="; ".join(METHODS[method]),
        epsilon_lower=gaussian_epsilon(value, delta) if gaussian else value,
        confidence=confidence,
        counts=counts,
    )


def _flat(name: str, scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise AuditError(f"{name} scores have shape {array.shape}; give a flat array of at least one score")
    if not np.isfinite(array).all():
        raise AuditError(f"{name} scores hold values that are not finite; look for a diverged model")
    return array
