"""Configuration of the attacks on membership that an audit runs."""

from dataclasses import dataclass, field

from flprivacy.core.checks import check


@dataclass(frozen=True, kw_only=True)
class MembershipConfig:
    """How many reference models attacks on membership may train.

    A reference costs about what the target cost. They are trained in pairs, on one random half of the patients and on
    the other, so that every scan has as many references that saw it as references that did not: 2 allow RMIA,
    BaVarIA and the calibrated loss, 4 LiRA too, for which 16 and more are better.

    Attributes:
        references: of each target; 0: attacks without references only.
        references_of: target -> another number.
    """

    references: int = 0
    references_of: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = {"references": self.references}
        counts |= {f"references_of.{target}": count for target, count in self.references_of.items()}
        for name, count in counts.items():
            check(count >= 0 and count % 2 == 0, name, count, "must be 0 or an even number: they are trained in pairs")

    def of(self, target: str) -> int:
        """Return how many references a target gets."""
        return self.references_of.get(target, self.references)
