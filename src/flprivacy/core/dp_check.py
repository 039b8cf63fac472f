"""What a check of private training found: the claim, what canaries prove against it, and a verdict."""

from dataclasses import dataclass, field
from typing import Any

from flprivacy.core.parsing import JsonRecord

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
class RepeatedCheck:
    """A worst case: many tiny trainings by the same code, each with or without one unit, and their own claim."""

    name: str
    what: str  # what differs between in and out, and what is observed
    trials: int
    claimed_epsilon: float  # of each training, at ``delta``
    delta: float
    bounds: tuple[EpsilonBound, ...]  # strongest first
    verdict: str  # ``claim contradicted`` or ``claim not contradicted``
    reason: str  # the verdict in a sentence


@dataclass(frozen=True, kw_only=True)
class DpCheck(JsonRecord):
    """A check of one training."""

    _kind, _step = "a DP check", "dp_check"

    name: str  # of the target that was trained
    target_digest: str
    cohort_digest: str  # of the cohort that it was trained on
    claim: str  # what the training says it guarantees, in words
    claimed_epsilon: float  # at ``delta``
    delta: float  # of the claim
    unit: str  # who the claim protects
    canaries: str  # kind of the canaries
    n_included: int  # canaries that were trained on
    n_excluded: int  # canaries that were not
    confidence: float  # with which all bounds hold together, those of worst cases too
    bounds: tuple[EpsilonBound, ...]  # every bound from canaries, strongest first
    epsilon_lower: float  # the strongest
    verdict: str  # ``claim contradicted``, by canaries or a worst case, or ``claim not contradicted``
    reason: str  # the verdict in a sentence
    scores: dict[str, dict[str, tuple[float, ...]]]  # score name -> {"in": ..., "out": ...}, the canaries' scores
    worst_cases: tuple[RepeatedCheck, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)  # command, configuration and versions
