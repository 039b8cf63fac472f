"""The audit: numbers with intervals, as auditing writes them and reporting and tracking read them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flprivacy.core.errors import AuditError, ConfigError
from flprivacy.core.parsing import from_mapping, to_mapping
from flprivacy.core.publish import write_json
from flprivacy.core.target import PrivacyStatement, Utility

LEAK, NO_LEAK, INCONCLUSIVE = "leak", "no leak found", "inconclusive"


@dataclass(frozen=True, kw_only=True)
class TargetSummary:
    """What a report says about a target. ``topology`` and ``utility`` are None for pixels and majority."""

    name: str
    role: str
    topology: str | None = None
    architecture: str | None = None
    digest: str = ""
    partition: str | None = None
    n_models: int = 0
    n_train: int = 0
    utility: Utility | None = None
    epsilon: float | None = None
    privacy: PrivacyStatement | None = None
    synthetic_share: float = 0.0
    tensors_matched: int = 0
    tensors_total: int = 0
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MetricEstimate:
    """One metric of one attack: mean over attacker seeds and the target's models, with its interval.

    ``per_model`` holds the seed means of each of the target's models where there is more than one.
    ``mae_years`` is in years (lower is a stronger attack); every other metric is in [0, 1].
    """

    target: str
    role: str
    attribute: str
    access: str
    fraction: float
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n_scans: int
    n_patients: int
    n_seeds: int
    n_models: int
    per_model: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ExcessEstimate:
    """How much stronger an attack on a target is than the same attack on a baseline, paired by scan and seed.

    Positive means that the target gives away more, for ``mae_years`` too (years of error saved).
    """

    target: str
    baseline: str
    attribute: str
    access: str
    fraction: float
    metric: str
    value: float
    ci_low: float
    ci_high: float
    p_value: float
    best_baseline: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The policy's word on one target and attack: ``leak``, ``no leak found`` or ``inconclusive``.

    ``excess``, ``ci_low``, ``ci_high`` and ``p_value`` are over ``baseline``, the strongest one.
    """

    target: str
    attribute: str
    access: str
    fraction: float
    metric: str
    value: float
    value_ci_low: float
    value_ci_high: float
    baseline: str
    baseline_value: float
    excess: float
    ci_low: float
    ci_high: float
    p_value: float
    threshold: float
    verdict: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ConfusionMatrix:
    """``counts[truth][prediction]``, the mean over attacker seeds and the target's models."""

    target: str
    attribute: str
    access: str
    fraction: float
    class_names: tuple[str, ...]
    counts: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class AgeScatter:
    """True and predicted age in years, one pair a held-out scan (first model, mean over seeds)."""

    target: str
    access: str
    fraction: float
    truth_years: tuple[float, ...]
    predicted_years: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """An attack's strength before each epoch: mean over seeds and models, with a band of 95% over seeds."""

    target: str
    attribute: str
    access: str
    fraction: float
    metric: str
    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TargetFailure:
    """Why a target has no numbers.

    Attributes:
        target: its name.
        step: that failed.
        reason: one line.
        passing: another try may do, because the reason is not in the target.
    """

    target: str
    step: str
    reason: str
    passing: bool = False


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Everything that one audit found.

    ``failures`` are the targets that no number speaks of, because a step on them failed.
    ``comparisons`` set targets against each other, the stronger attack's first and the other in place of the baseline.
    ``provenance`` holds digests, seeds, versions, commands, processors and TensorFlow's settings.
    """

    name: str
    cohort_name: str
    cohort_digest: str
    cohort: dict[str, Any]
    config: dict[str, Any]
    targets: tuple[TargetSummary, ...]
    metrics: tuple[MetricEstimate, ...]
    excesses: tuple[ExcessEstimate, ...]
    verdicts: tuple[Verdict, ...]
    confusions: tuple[ConfusionMatrix, ...]
    scatters: tuple[AgeScatter, ...]
    curves: tuple[Curve, ...]
    comparisons: tuple[ExcessEstimate, ...] = ()
    failures: tuple[TargetFailure, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the audit atomically as JSON."""
        write_json(path, to_mapping(self))

    @classmethod
    def read(cls, path: Path) -> "Audit":
        """Read an audit written by :meth:`write`.

        Raises:
            AuditError: the file is missing or is no audit.
        """
        try:
            return from_mapping(cls, json.loads(path.read_text()), str(path))
        except (OSError, ValueError, ConfigError) as error:
            raise AuditError(f"{path}: not an audit ({error}); run the evaluate step again") from error
