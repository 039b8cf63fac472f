"""Configuration of the attacks on membership that an audit runs."""

from dataclasses import dataclass, field

from flprivacy.core.errors import check
from flprivacy.core.vocabulary import PATIENTS, SITES

LEAST_SITE_REFERENCES = 4


@dataclass(frozen=True, kw_only=True)
class MembershipConfig:
    """How many reference models attacks on membership may train.

    A reference costs about what the target cost. They are trained in pairs, on one random half of the patients and on
    the other, so that every scan has as many references that saw it as references that did not: 2 allow RMIA,
    BaVarIA and the calibrated loss, 4 LiRA too, for which 16 and more are better. Those that ask whether a hospital
    took part are trained on one random half of the hospitals and on the other: 4 at least, 8 and more are better.

    Attributes:
        references: of each target; 0: attacks without references only.
        references_of: target -> another number.
        site_references: of each target, on halves of the hospitals; 0: nobody asks whether a hospital took part.
        site_references_of: target -> another number.
    """

    references: int = 0
    references_of: dict[str, int] = field(default_factory=dict)
    site_references: int = 0
    site_references_of: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("references", "site_references"):
            counts = {name: getattr(self, name)}
            counts |= {f"{name}_of.{target}": count for target, count in getattr(self, f"{name}_of").items()}
            for field_name, count in counts.items():
                rule = "must be 0 or an even number: they are trained in pairs"
                check(count >= 0 and count % 2 == 0, field_name, count, rule)
                enough = name == "references" or count == 0 or count >= LEAST_SITE_REFERENCES
                rule = f"must be 0 or at least {LEAST_SITE_REFERENCES}: each is compared with those of other pairs"
                check(enough, field_name, count, rule)

    def of(self, target: str, drawn: str = PATIENTS) -> int:
        """Return how many references a target gets, on halves of the ``patients`` or of the ``sites``."""
        if drawn == SITES:
            return self.site_references_of.get(target, self.site_references)
        return self.references_of.get(target, self.references)
