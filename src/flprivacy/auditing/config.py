"""Configuration of the audit: intervals, and the policy on attributes and on membership."""

from dataclasses import dataclass, field

from flprivacy.core.attributes import BY_NAME, CLASSIFICATION_METRICS, REGRESSION_METRICS
from flprivacy.core.errors import check
from flprivacy.core.membership import AUC as AUC
from flprivacy.core.membership import TPR
from flprivacy.core.vocabulary import QUESTIONS


@dataclass(frozen=True, kw_only=True)
class MembershipRule:
    """When an attack on membership counts as a leak: by few members for sure, or by many more likely than not.

    Attributes:
        metric: that decides: ``tpr_at_fpr_0.01``, or any other rate, or ``auc``.
        threshold: excess above chance that is tolerated, in [0, 1).
        auc_threshold: excess of the AUC above one half that is tolerated beside a rate, in [0, 0.5); a leak of either
            is one. None: the metric decides alone. Where the metric is ``auc``, its own threshold counts.
    """

    metric: str = "tpr_at_fpr_0.01"
    threshold: float = 0.02
    auc_threshold: float | None = 0.05

    def __post_init__(self) -> None:
        rate = self.metric.removeprefix(TPR) if self.metric.startswith(TPR) else ""
        known = self.metric == AUC or (_number(rate) is not None and 0.0 < float(rate) < 1.0)
        check(known, "metric", self.metric, f"must be {AUC} or {TPR} with a rate below 1, such as {TPR}0.01")
        check(0.0 <= self.threshold < 1.0, "threshold", self.threshold, "must be in [0, 1)")
        area = self.auc_threshold
        check(area is None or 0.0 <= area < 0.5, "auc_threshold", area, "must be in [0, 0.5)")

    @property
    def fpr(self) -> float | None:
        """The false positive rate that decides; None for the AUC."""
        return None if self.metric == AUC else float(self.metric.removeprefix(TPR))

    @property
    def tolerated(self) -> dict[str, float]:
        """Metric -> excess that is tolerated, for each that decides."""
        own = {AUC if self.fpr is None else f"{TPR}{self.fpr:g}": self.threshold}
        return own if self.fpr is None or self.auc_threshold is None else own | {AUC: self.auc_threshold}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(frozen=True, kw_only=True)
class MembershipAudit:
    """How scores of membership attacks become numbers.

    Attributes:
        rule: what is a leak.
        fprs: false positive rates at which true positive rates are given, as far as the non-members resolve them.
        confidence: of every interval, and of the verdict over all attacks together.
        most_exposed: members that are named.
    """

    rule: MembershipRule = field(default_factory=MembershipRule)
    fprs: tuple[float, ...] = (0.01, 0.001)
    confidence: float = 0.95
    most_exposed: int = 10

    def __post_init__(self) -> None:
        check(all(0.0 < fpr < 1.0 for fpr in self.fprs), "fprs", self.fprs, "each must be between 0 and 1")
        check(0.5 < self.confidence < 1.0, "confidence", self.confidence, "must be between 0.5 and 1, such as 0.95")
        check(self.most_exposed >= 0, "most_exposed", self.most_exposed, "must not be negative")

    @property
    def asked_fprs(self) -> tuple[float, ...]:
        """All rates, that of the rule included, the highest first."""
        own = () if self.rule.fpr is None else (self.rule.fpr,)
        return tuple(sorted({*self.fprs, *own}, reverse=True))


@dataclass(frozen=True, kw_only=True)
class PolicyRule:
    """When an attack's excess counts as a leak.

    Attributes:
        metric: the metric whose excess decides (``f1_weighted`` ... or ``mae_years``, where lower is stronger
            and the excess is the reduction in years).
        threshold: excess over the best baseline that is tolerated, in the metric's own units.
        fraction: exposed fraction that decides; the largest audited one if None.
        also: metric -> tolerated excess of what else the verdict looks at. If None: the macro AUC, which sees rare
            classes that ``f1_weighted`` cannot, at the same threshold (attributes in classes).
        one_class: whether the hospital that stands out most may raise a leak, too, at the same threshold; None: yes
            where the attribute is the site.
        questions: question -> tolerated excess in ``metric``, of the questions that are judged: ``training`` (what
            training put in, for whoever has no scan), ``holding`` (what the model adds for whoever holds the scan) and
            ``memorised`` (what it remembers of its own training patients). All at ``threshold`` if None.
    """

    metric: str = "f1_weighted"
    threshold: float = 0.0
    fraction: float | None = None
    also: dict[str, float] | None = None
    one_class: bool | None = None
    questions: dict[str, float] | None = None

    def __post_init__(self) -> None:
        known = (*CLASSIFICATION_METRICS, *REGRESSION_METRICS)
        check(self.metric in known, "metric", self.metric, f"must be one of {', '.join(known)}")
        check(self.threshold >= 0.0, "threshold", self.threshold, "must not be negative")
        if self.fraction is not None:
            check(0.0 < self.fraction <= 1.0, "fraction", self.fraction, "must be in (0, 1]")
        for metric, tolerated in (self.also or {}).items():
            check(metric in known, "also", metric, f"must be one of {', '.join(known)}")
            check(tolerated >= 0.0, f"also.{metric}", tolerated, "must not be negative")
        for question, tolerated in (self.questions or {}).items():
            check(question in QUESTIONS, "questions", question, f"must be of {', '.join(QUESTIONS)}")
            check(tolerated >= 0.0, f"questions.{question}", tolerated, "must not be negative")

    def asked(self) -> dict[str, float]:
        """Return question -> tolerated excess, of the questions that are judged."""
        return dict.fromkeys(QUESTIONS, self.threshold) if self.questions is None else self.questions


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the hospital network tolerates.

    Attributes:
        rules: attribute (``site``, ``sex``, ``age_band``, ``age_years``) -> its rule; one without a rule is attacked
            and gets no verdict.
        membership: what attacks may tell about who was trained on; None: they are run and get no verdict.
    """

    rules: dict[str, PolicyRule] = field(
        default_factory=lambda: {
            one.name: PolicyRule(
                metric=one.metric, threshold=one.threshold, questions=dict.fromkeys(QUESTIONS, one.threshold)
            )
            for one in BY_NAME.values()
        }
    )

    membership: MembershipRule | None = field(default_factory=MembershipRule)

    def __post_init__(self) -> None:
        known = set(BY_NAME)
        check(set(self.rules) <= known, "rules", sorted(self.rules), f"rules are for {', '.join(sorted(known))}")
        for attribute, rule in self.rules.items():
            metrics = BY_NAME[attribute].metrics
            for name in (rule.metric, *(rule.also or {})):
                check(name in metrics, f"rules.{attribute}.metric", name, f"choose from {', '.join(metrics)}")

    def note(self) -> str:
        """Say which rules leave open what they ask, as those written before there were questions; empty if none."""
        silent = sorted(attribute for attribute, rule in self.rules.items() if rule.questions is None)
        if not silent:
            return ""
        return (
            f"the policy does not say which questions it judges for {', '.join(silent)}, so it is read as judging all "
            f"({', '.join(QUESTIONS)}) at one tolerance; audit.policy.rules.{silent[0]}.questions says otherwise"
        )


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """How score tables become numbers.

    Attributes:
        confidence: coverage of every interval.
        bootstrap: replicates over patients.
        seed: draws the replicates.
        policy: when an excess counts as a leak.
    """

    confidence: float = 0.95
    bootstrap: int = 1000
    seed: int = 0
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        check(0.5 <= self.confidence < 1.0, "confidence", self.confidence, "must be in [0.5, 1), such as 0.95")
        check(self.bootstrap >= 100, "bootstrap", self.bootstrap, "must be at least 100")
