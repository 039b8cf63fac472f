"""What a check of private training found: the claim, what canaries prove against it, and a verdict."""

from dataclasses import dataclass, field
from typing import Any

from flprivacy.core.json_record import JsonRecord

CONTRADICTED, NOT_CONTRADICTED = "claim contradicted", "claim not contradicted"


@dataclass(frozen=True, kw_only=True)
class EpsilonBound:
    """One lower bound on epsilon: with the stated confidence, the mechanism's true epsilon is not below it.

    Attributes:
        method: estimator, such as ``one-run``.
        assumes: what it takes for granted of the mechanism, in words; empty for nothing.
        epsilon_lower: the bound, 0 or more; 0 proves nothing.
        confidence: with which this bound holds on its own; its share of the audit's error.
        counts: what it rests on, such as members above the threshold, or guesses and those that were right.
        score: which of the canaries' scores it is from; empty where there is only one.
    """

    method: str
    assumes: str
    epsilon_lower: float
    confidence: float
    counts: dict[str, int] = field(default_factory=dict)
    score: str = ""


@dataclass(frozen=True, kw_only=True)
class DpCheck(JsonRecord):
    """A check of one training.

    Attributes:
        name: of the target that was trained.
        target_digest: its digest.
        cohort_digest: of the cohort that it was trained on.
        claim: what the training says it guarantees, in words.
        claimed_epsilon: at ``delta``.
        delta: of the claim.
        unit: who the claim protects.
        canaries: kind of the canaries.
        n_included: canaries that were trained on.
        n_excluded: canaries that were not.
        confidence: with which all bounds hold together.
        bounds: every bound, strongest first.
        epsilon_lower: the strongest.
        verdict: ``claim contradicted`` or ``claim not contradicted``.
        reason: the verdict in a sentence.
        scores: score name -> {"in": ..., "out": ...}, the canaries' scores.
        provenance: command, configuration and versions.
    """

    _kind, _step = "a DP check", "dp_check"

    name: str
    target_digest: str
    cohort_digest: str
    claim: str
    claimed_epsilon: float
    delta: float
    unit: str
    canaries: str
    n_included: int
    n_excluded: int
    confidence: float
    bounds: tuple[EpsilonBound, ...]
    epsilon_lower: float
    verdict: str
    reason: str
    scores: dict[str, dict[str, tuple[float, ...]]]
    provenance: dict[str, Any] = field(default_factory=dict)
