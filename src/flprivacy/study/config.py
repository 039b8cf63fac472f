"""Configuration of a whole study: frozen, keyword-only, validated when built, JSON-able."""

from dataclasses import dataclass, field, replace

from flprivacy.attacks.config import AttackConfig, MembershipConfig
from flprivacy.auditing.config import AuditConfig
from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.core.errors import check
from flprivacy.core.vocabulary import PROTOCOLS
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.synthesis.config import GeneratorConfig, SynthesisConfig
from flprivacy.training.config import CanaryConfig, TargetConfig


@dataclass(frozen=True, kw_only=True)
class DpCheckConfig:
    """A check of private training itself: train with canaries, and set what their scores prove against the claim."""

    # what to train; private, with canaries
    target: TargetConfig = field(
        default_factory=lambda: TargetConfig(
            topology="central",
            epochs=10,
            learning_rate=0.1,
            privacy=PrivacyConfig(unit="scan", noise_multiplier=1.2, sampling_rate=0.05, optimizer="sgd"),
            canaries=CanaryConfig(),
        )
    )
    confidence: float = 0.95  # with which the lower bound on epsilon holds, over all ways that it is computed

    def __post_init__(self) -> None:
        check(self.target.privacy is not None, "target.privacy", None, "the check is about private training; add it")
        check(self.target.canaries is not None, "target.canaries", None, "the check needs canaries; add them")
        check(0.5 < self.confidence < 1.0, "confidence", self.confidence, "must be between 0.5 and 1, such as 0.95")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A whole study: a phantom cohort, a generator and targets trained on it, the attacks and the audit."""

    name: str  # name of the preset or file
    cohort: PhantomConfig | None = None  # the phantom cohort to make; None where a cohort is given
    protocol: str = "standard"  # preprocessing, ``standard`` or ``flprivacy-2023``
    # name -> how it is trained; an ``untrained`` one is the baseline of its architecture
    targets: dict[str, TargetConfig]
    generator: GeneratorConfig | None = None  # of synthetic scans, trained on the cohort; None for none
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)  # which scans it makes
    attack: AttackConfig = field(default_factory=AttackConfig)  # the grid of attribute attacks
    membership: MembershipConfig = field(default_factory=MembershipConfig)  # reference models of attacks on membership
    audit: AuditConfig = field(default_factory=AuditConfig)  # intervals and policy

    def __post_init__(self) -> None:
        check(self.protocol in PROTOCOLS, "protocol", self.protocol, f"must be one of {', '.join(PROTOCOLS)}")
        check(bool(self.targets), "targets", self.targets, "name at least one target")
        reserved = {"pixels", "majority"} & set(self.targets)
        check(not reserved, "targets", sorted(reserved), "these names belong to baselines; choose others")
        for name, target in self.targets.items():
            fits = name.replace("-", "").replace("_", "").isalnum() and name == name.lower()
            check(fits, "target name", name, "use lower-case letters, digits, '-' and '_'")
            made = target.synthetic is None or self.generator is not None
            check(made, "generator", None, f"target {name!r} is trained on synthetic scans; say what makes them")

    def scans_to_make(self, n_train: int) -> SynthesisConfig:
        """Return which synthetic scans to make of a generator of ``n_train`` scans, their number filled in.

        It is the largest that a target asks for; ``n_train`` where none asks.

        Raises:
            ConfigError: a target asks for more than the configuration does.
        """
        asked = {name: t.synthetic.count(n_train) for name, t in self.targets.items() if t.synthetic is not None}
        scans = self.synthesis.scans or max(asked.values(), default=n_train)
        for name, count in asked.items():
            rule = f"target {name!r} is trained on {count}; raise it, or leave it out to make as many as are needed"
            check(count <= scans, "synthesis.scans", scans, rule)
        return replace(self.synthesis, scans=scans)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a preset describes."""

    study: StudyConfig  # the study, whose parts other pipelines use too
    dp_check: DpCheckConfig  # the training that pipeline ``dp_check`` checks on the same cohort
