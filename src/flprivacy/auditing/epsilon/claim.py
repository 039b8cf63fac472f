"""A claimed epsilon against what canary scores prove.

Several bounds are computed from several scores of the same canaries, and the strongest decides. That choice is paid
for: each bound gets an equal share of the error, so that all of them hold together with the stated confidence.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.epsilon.clopper_pearson import clopper_pearson_bound
from flprivacy.auditing.epsilon.f_dp import f_dp_bound
from flprivacy.auditing.epsilon.gaussian_dp import gaussian_dp_bound
from flprivacy.auditing.epsilon.one_run import one_run_bound
from flprivacy.auditing.epsilon.scores import EpsilonBound
from flprivacy.core.dp_check import CONTRADICTED, NOT_CONTRADICTED, CanaryBound
from flprivacy.core.errors import AuditError

Bound = Callable[..., EpsilonBound]

_GAUSSIAN = "Gaussian noise, of whatever size"
_INDEPENDENT = "canaries that do not influence each other"
METHODS: dict[str, tuple[Bound, str]] = {
    "one-run": (one_run_bound, ""),
    "one-run f-DP": (f_dp_bound, _GAUSSIAN),
    "Clopper-Pearson": (clopper_pearson_bound, _INDEPENDENT),
    "Gaussian-DP": (gaussian_dp_bound, f"{_GAUSSIAN}; {_INDEPENDENT}"),
}


@dataclass(frozen=True, kw_only=True)
class ClaimCheck:
    """Bounds, strongest first, and the verdict on a claim."""

    bounds: tuple[CanaryBound, ...]
    epsilon_lower: float
    verdict: str
    reason: str


def check_claim(
    included: npt.ArrayLike,
    scores: Mapping[str, npt.ArrayLike],
    *,
    claimed_epsilon: float,
    delta: float,
    confidence: float = 0.95,
) -> ClaimCheck:
    """Set what canaries prove against a claimed epsilon.

    Args:
        included: (canary,) whether a fair coin put it into the training data.
        scores: name -> (canary,) scores, higher for likelier in; all chosen before looking.
        claimed_epsilon: of the (epsilon, delta)-DP that the training claims.
        delta: of the claim.
        confidence: with which all bounds hold together. A training that keeps its claim is contradicted with at most
            the remaining probability.

    Raises:
        AuditError: no score, coins that all fell alike, or scores that are not finite.
    """
    coins = np.asarray(included, dtype=bool)
    if not scores or coins.all() or not coins.any():
        raise AuditError(
            f"{int(coins.sum())} of {len(coins)} canaries are in, with {len(scores)} scores; there must be some in, "
            "some out, and a score: insert more canaries"
        )
    error = (1.0 - confidence) / (len(METHODS) * len(scores))
    found = [
        _bound(coins, np.asarray(values, dtype=np.float64), score, method, delta=delta, error=error)
        for score, values in scores.items()
        for method in METHODS
    ]
    found.sort(key=lambda b: -b.epsilon_lower)
    best = found[0]
    contradicted = best.epsilon_lower > claimed_epsilon
    return ClaimCheck(
        bounds=tuple(found),
        epsilon_lower=best.epsilon_lower,
        verdict=CONTRADICTED if contradicted else NOT_CONTRADICTED,
        reason=_reason(best, claimed_epsilon, confidence, contradicted=contradicted),
    )


def _bound(
    coins: npt.NDArray[np.bool_],
    values: npt.NDArray[np.float64],
    score: str,
    method: str,
    *,
    delta: float,
    error: float,
) -> CanaryBound:
    function, assumes = METHODS[method]
    bound = function(values[coins], values[~coins], delta=delta, confidence=1.0 - error)
    return CanaryBound(
        score=score,
        method=method,
        assumes=assumes,
        epsilon_lower=bound.epsilon_lower,
        confidence=bound.confidence,
        counts=bound.counts,
    )


def _reason(best: CanaryBound, claimed: float, confidence: float, *, contradicted: bool) -> str:
    proven = f"with {confidence:.0%} confidence the canaries prove an epsilon of at least {best.epsilon_lower:.3g}"
    how = f"({best.method}, from the {best.score} scores)"
    if contradicted:
        return f"{proven} {how}, which is more than the claimed {claimed:.3g}: the training does not keep its promise"
    return (
        f"{proven} {how}, which the claimed {claimed:.3g} allows; that is no proof of the claim, since a better attack "
        "may prove more"
    )
