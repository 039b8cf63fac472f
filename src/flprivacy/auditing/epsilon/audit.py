"""What canaries prove about a mechanism's epsilon, by several methods together, and what that says of a claim.

Several bounds are computed from several scores of the same canaries, and the strongest decides. That choice is
corrected for: each bound gets an equal share of the error, so that all of them hold together with the stated
confidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.epsilon.bound import METHODS, epsilon_bound
from flprivacy.core.dp_check import CONTRADICTED, NOT_CONTRADICTED, EpsilonBound
from flprivacy.core.errors import AuditError


@dataclass(frozen=True, kw_only=True)
class EpsilonAudit:
    """Lower bounds on epsilon, and what they say of a claim.

    Attributes:
        epsilon_lower: the strongest bound; with ``confidence``, the true epsilon at ``delta`` is not below it, if what
            ``bounds[0].assumes`` names is true. 0 proves nothing.
        delta: of the (epsilon, delta) in question.
        confidence: with which all bounds hold together.
        bounds: every bound, the strongest first, each with its method and what it assumes.
        verdict: ``claim contradicted`` or ``claim not contradicted``; empty where nothing was claimed.
        reason: what was proven, in a sentence.
    """

    epsilon_lower: float
    delta: float
    confidence: float
    bounds: tuple[EpsilonBound, ...]
    verdict: str
    reason: str


def audit_epsilon(
    in_scores: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    out_scores: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    *,
    delta: float = 1e-5,
    confidence: float = 0.95,
    claimed_epsilon: float | None = None,
    methods: Sequence[str] = tuple(METHODS),
    correction: str = "bonferroni",
    seed: int = 0,
) -> EpsilonAudit:
    """Bound epsilon from below by the scores of canaries that were trained on and of canaries that were not.

    A bound above a claimed epsilon shows that the claim is wrong. A bound below it shows nothing: a better attack might
    have gone further.

    Args:
        in_scores: (m,) scores of the canaries that were in the training data, higher for likelier in; or name -> (m,)
            for several scores of the same canaries, all chosen before looking.
        out_scores: (n,) scores of the canaries that were not; or name -> (n,), the same names.
        delta: of the (epsilon, delta)-DP in question, in (0, 1).
        confidence: with which all bounds hold together, in (0.5, 1). Training that keeps its claim is contradicted with
            at most the remaining probability.
        claimed_epsilon: epsilon at ``delta`` that the training claims; None where there is no claim to check.
        methods: any of ``one-run`` (assumes nothing but that a fair coin decided which canaries were in; Steinke et
            al., arXiv:2305.08846), ``one-run f-DP`` (Gaussian noise too; Mahloujifar et al., arXiv:2410.22235),
            ``Clopper-Pearson`` (canaries that do not influence each other; Jagielski et al., arXiv:2006.07709) and
            ``Gaussian-DP`` (both; Nasr et al., arXiv:2302.07956). Leave out those whose assumptions do not hold.
        correction: for choosing a threshold or a number of guesses by looking: ``bonferroni``, or ``split``, which is
            better where scores take few values.
        seed: orders equal scores and draws the halves of ``split``.

    Returns:
        The bounds, and the verdict on the claim.

    Raises:
        AuditError: no canary in or none out, no score, scores of different names, scores that are not flat or not
            finite, an unknown method or correction, or a level out of range.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> found = audit_epsilon(rng.normal(3.0, size=500), rng.normal(size=500), delta=1e-5)
        >>> found.epsilon_lower > 4.0, found.bounds[0].method
        (True, 'Gaussian-DP')
    """
    ins, outs = (dict(s) if isinstance(s, Mapping) else {"": s} for s in (in_scores, out_scores))
    _check(ins, outs, methods)
    error = (1.0 - confidence) / (len(methods) * len(ins))
    bound = partial(epsilon_bound, delta=delta, confidence=1.0 - error, correction=correction, seed=seed)
    found = [replace(bound(method, ins[score], outs[score]), score=score) for score in ins for method in methods]
    found.sort(key=lambda bound: -bound.epsilon_lower)
    verdict, reason = _judge(found[0], claimed_epsilon, confidence)
    return EpsilonAudit(
        epsilon_lower=found[0].epsilon_lower,
        delta=delta,
        confidence=confidence,
        bounds=tuple(found),
        verdict=verdict,
        reason=reason,
    )


def _check(ins: Mapping[str, npt.ArrayLike], outs: Mapping[str, npt.ArrayLike], methods: Sequence[str]) -> None:
    if list(ins) != list(outs):
        raise AuditError(
            f"in_scores are named {list(ins)}, out_scores {list(outs)}; give the same scores of both, in one order"
        )
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods:
        raise AuditError(f"methods are {list(methods)}; choose at least one from {', '.join(METHODS)}")
    n_in, n_out = (np.size(next(iter(scores.values()), ())) for scores in (ins, outs))
    if not ins or not n_in or not n_out:
        raise AuditError(
            f"{n_in} of {n_in + n_out} canaries are in, with {len(ins)} scores; there must be some in, some out, and a "
            "score: insert more canaries"
        )


def _judge(best: EpsilonBound, claimed: float | None, confidence: float) -> tuple[str, str]:
    proven = f"with {confidence:.0%} confidence the canaries prove an epsilon of at least {best.epsilon_lower:.3g}"
    proven += f" ({best.method}, from the {best.score} scores)" if best.score else f" ({best.method})"
    if claimed is None:
        return "", proven
    if best.epsilon_lower > claimed:
        return (
            CONTRADICTED,
            f"{proven}, which is more than the claimed {claimed:.3g}: the training does not keep its promise",
        )
    return NOT_CONTRADICTED, (
        f"{proven}, which the claimed {claimed:.3g} allows; that is no proof of the claim, since a better attack "
        "may prove more"
    )
