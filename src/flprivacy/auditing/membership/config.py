"""Configuration of the audit of membership."""

from dataclasses import dataclass, field

from flprivacy.core.errors import check
from flprivacy.core.membership import AUC as AUC
from flprivacy.core.membership import TPR


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
