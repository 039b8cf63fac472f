"""What a check of private training found: the claim, what canaries prove against it, and a verdict."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flprivacy.core.errors import AuditError, ConfigError
from flprivacy.core.parsing import from_mapping, to_mapping
from flprivacy.core.publish import write_json

CONTRADICTED, NOT_CONTRADICTED = "claim contradicted", "claim not contradicted"


@dataclass(frozen=True, kw_only=True)
class CanaryBound:
    """One lower bound on epsilon.

    Attributes:
        score: which of the canaries' scores it is from.
        method: estimator, such as ``one-run``.
        assumes: what it takes for granted of the mechanism, in words; empty for nothing.
        epsilon_lower: the bound, 0 or more.
        confidence: with which this bound holds on its own; its share of the check's error.
        counts: what it rests on.
    """

    score: str
    method: str
    assumes: str
    epsilon_lower: float
    confidence: float
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DpCheck:
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
    bounds: tuple[CanaryBound, ...]
    epsilon_lower: float
    verdict: str
    reason: str
    scores: dict[str, dict[str, tuple[float, ...]]]
    provenance: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the check atomically as JSON."""
        write_json(path, to_mapping(self))

    @classmethod
    def read(cls, path: Path) -> "DpCheck":
        """Read a check written by :meth:`write`.

        Raises:
            AuditError: the file is missing or is no check.
        """
        try:
            return from_mapping(cls, json.loads(path.read_text()), str(path))
        except (OSError, ValueError, ConfigError) as error:
            raise AuditError(f"{path}: not a DP check ({error}); run the dp_check step again") from error
