"""The audit: numbers with intervals, as auditing writes them and reporting and tracking read them.

Every record names its attack by an :class:`~flprivacy.core.attributes.AttackKey`. On disk the key's fields stand flat
beside the numbers, so that audits of any version in MLflow can be read and compared.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from flprivacy.core.attributes import AGE_YEARS, AttackKey
from flprivacy.core.generator_audit import GeneratorAudit
from flprivacy.core.membership import MembershipFinding
from flprivacy.core.parsing import JsonRecord, inline
from flprivacy.core.target import PrivacyStatement, Utility

LEAK, NO_LEAK, INCONCLUSIVE = "leak", "no leak found", "inconclusive"
GENERATOR = "generator"  # what a failure of it calls it, and its role
HONEST_SEEDS = 5  # attacker seeds below which the spread over attackers is poorly known


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
    doubt: str = ""  # why no attack can clear it, with what to do about it; empty where nothing speaks against it
    unconfirmed: str = ""  # what rests on its owner's word alone; empty where nothing does

    def metrics(self) -> dict[str, float]:
        """Return what is known of its utility and privacy, by readable names."""
        found = {} if self.utility is None else {f"utility.{k}": v for k, v in self.utility.metrics().items()}
        found |= {} if self.epsilon is None else {"epsilon": self.epsilon}
        return found if self.privacy is None else found | {"delta": self.privacy.delta}


@dataclass(frozen=True, kw_only=True)
class MetricEstimate:
    """One metric of one attack: mean over attacker seeds and the target's models, with its interval.

    Values are in [0, 1], or in years for ``mae_years``.

    Attributes:
        attack: what was attacked and how.
        role: of what was attacked, ``target`` or ``baseline``.
        metric: name of the metric.
        value: the mean.
        ci_low: lower end of its interval.
        ci_high: upper end.
        n_scans: held-out scans.
        n_patients: their patients.
        n_seeds: attacker seeds.
        n_models: models of the target.
        per_model: model -> mean over seeds, where there is more than one model.
        of_class: the class that ``auc_class`` is about; empty for other metrics.
    """

    attack: AttackKey = field(metadata=inline())
    role: str
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n_scans: int
    n_patients: int
    n_seeds: int
    n_models: int
    per_model: dict[str, float] = field(default_factory=dict)
    of_class: str = ""


@dataclass(frozen=True, kw_only=True)
class ExcessEstimate:
    """How much stronger an attack on a target is than the same attack on a baseline, paired by scan and seed.

    Attributes:
        attack: on the target.
        baseline: name of the baseline.
        metric: name of the metric.
        value: the difference; positive where the target gives away more, also for ``mae_years`` (years of error saved).
        ci_low: lower end of its interval.
        ci_high: upper end.
        p_value: two-sided, of no difference.
        best_baseline: whether this baseline is the strongest in this metric.
        as_good: whether it is the strongest, or not clearly weaker than that.
        standard_error: of the difference; None in older audits.
        degrees: of freedom, with which the standard error is known; None in older audits.
        of_class: the class that ``auc_class`` is about; empty for other metrics.
        strongest_of: among how many alike (classes) this is the strongest; interval and p-value allow for the choice.
        patients_share: share of its variance that is due to the patients, so that more of them reduce it, in [0, 1];
            None in older audits. What is neither theirs nor the seeds' is due to fresh initialisations.
        seeds_share: the same of attacker seeds.
    """

    attack: AttackKey = field(metadata=inline())
    baseline: str
    metric: str
    value: float
    ci_low: float
    ci_high: float
    p_value: float
    best_baseline: bool
    as_good: bool = False
    standard_error: float | None = None
    degrees: float | None = None
    of_class: str = ""
    strongest_of: int = 1
    patients_share: float | None = None
    seeds_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one metric says about an attack on a target: a verdict looks at several.

    Attributes:
        metric: its name.
        of_class: the class that ``auc_class`` is about; empty for other metrics.
        value: strength of the attack on the target.
        baseline: the strongest one in this metric.
        baseline_value: strength of the attack on it.
        excess: over it, in the metric's units.
        ci_low: lower end of the interval of the excess.
        ci_high: upper end.
        threshold: excess that the policy tolerates.
        p_leak: one-sided, of an excess no larger than that over some baseline.
        p_adjusted: the same, adjusted for every look of every verdict of the audit.
        verdict: what this metric alone says.
        reason: in a sentence.
        patients_share: share of the variance of the excess that is due to the patients; None in older audits.
        seeds_share: the same of attacker seeds.
    """

    metric: str
    of_class: str = ""
    value: float
    baseline: str
    baseline_value: float
    excess: float
    ci_low: float
    ci_high: float
    threshold: float
    p_leak: float
    p_adjusted: float
    verdict: str
    reason: str
    patients_share: float | None = None
    seeds_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The policy's decision on one target and attack.

    Attributes:
        attack: what was attacked and how.
        metric: that the policy looks at.
        value: strength of the attack on the target.
        value_ci_low: lower end of its interval.
        value_ci_high: upper end.
        baseline: the strongest one.
        baseline_value: strength of the attack on it.
        excess: over it, in the metric's units.
        ci_low: lower end of the interval of the excess.
        ci_high: upper end.
        p_value: two-sided, of no excess.
        threshold: excess that the policy tolerates.
        verdict: ``leak``, ``no leak found`` or ``inconclusive``.
        reason: the verdict in a sentence.
        question: that it answers, of :data:`flprivacy.core.vocabulary.QUESTIONS`; empty in older audits, which held
            attacks without the scan against pixels, too.
        looks: what each metric says that the verdict rests on, ``metric`` first; empty in older audits,
            whose verdicts looked at one and were not corrected for their number.
    """

    attack: AttackKey = field(metadata=inline())
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
    question: str = ""
    looks: tuple[Look, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ConfusionMatrix:
    """``counts[truth][prediction]`` in scans, the mean over attacker seeds and the target's models."""

    attack: AttackKey = field(metadata=inline())
    class_names: tuple[str, ...]
    counts: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class AgeScatter:
    """True and predicted age in years, one pair a held-out scan (first model, mean over seeds)."""

    attack: AttackKey = field(metadata=inline(attribute=AGE_YEARS.name))
    truth_years: tuple[float, ...]
    predicted_years: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """An attack's strength before each epoch: mean over seeds and models, with a band of 95% over seeds."""

    attack: AttackKey = field(metadata=inline())
    metric: str
    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TargetFailure:
    """Why a target or baseline has no numbers."""

    target: str
    step: str  # that failed
    reason: str  # one line
    # whether another attempt may succeed, because the reason is not in the target
    transient: bool = False
    role: str = "target"  # ``baseline``, or ``generator``, which targets share


@dataclass(frozen=True, kw_only=True)
class Audit(JsonRecord):
    """Everything that one audit found."""

    _kind, _step = "an audit", "evaluate"

    name: str
    cohort_name: str  # of the cohort that everything was attacked with
    cohort_digest: str
    cohort: dict[str, Any]  # facts about it
    config: dict[str, Any]  # the study's configuration
    targets: tuple[TargetSummary, ...]  # targets and baselines
    metrics: tuple[MetricEstimate, ...]  # of every attack
    excesses: tuple[ExcessEstimate, ...]  # of every attack on a target over every baseline
    verdicts: tuple[Verdict, ...]  # by the policy
    confusions: tuple[ConfusionMatrix, ...]  # of attacks on classes
    scatters: tuple[AgeScatter, ...]  # of attacks on the age in years
    curves: tuple[Curve, ...]  # of attacks that train
    # targets set against each other: the more exposed one, with the other in place of the baseline
    comparisons: tuple[ExcessEstimate, ...] = ()
    membership: tuple[MembershipFinding, ...] = ()  # of every target, by scan and by patient
    generator: GeneratorAudit | None = None  # of synthetic scans, where the study has one; without a patient's picture
    failures: tuple[TargetFailure, ...] = ()  # targets without numbers, because a step on them failed
    left_out: dict[str, int] = field(default_factory=dict)  # attribute -> held-out scans without a known value
    # attribute -> another -> how closely they hang together among held-out patients, in [0, 1]
    associations: dict[str, dict[str, float]] = field(default_factory=dict)
    # digests, seeds, versions, commands, processors and settings of TensorFlow
    provenance: dict[str, Any] = field(default_factory=dict)

    @cached_property  # figures and tables ask hundreds of times
    def summaries(self) -> tuple[TargetSummary, ...]:
        """Every target and baseline: those that are listed, then those that only numbers know."""
        listed = {one.name: one for one in self.targets}
        roles = {one.attack.target: one.role for one in self.metrics}
        for attack in self.attacks():
            listed.setdefault(attack.target, TargetSummary(name=attack.target, role=roles.get(attack.target, "target")))
        return tuple(listed.values())

    def attacks(self) -> tuple[AttackKey, ...]:
        """Return the attack behind every number, with repetitions."""
        records: tuple[MetricEstimate | Verdict | Curve | ConfusionMatrix | AgeScatter, ...] = (
            *self.metrics,
            *self.verdicts,
            *self.curves,
            *self.confusions,
            *self.scatters,
        )
        return tuple(record.attack for record in records)
