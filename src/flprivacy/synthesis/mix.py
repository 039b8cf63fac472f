"""Configuration of which scans a generator is asked for: how many, of which sites and classes."""

import math
from dataclasses import dataclass, field

from flprivacy.core.checks import check

DEFAULT, TRAINING, UNIFORM = "default", "training", "uniform"
MIXES = (DEFAULT, TRAINING, UNIFORM)


@dataclass(frozen=True, kw_only=True)
class SynthesisConfig:
    """The synthetic scans to make.

    Attributes:
        scans: how many; 0: as many as the study's targets are trained on, or else one for each training scan.
        mix: where ``sites`` or ``classes`` say nothing: ``training`` (as often as among the generator's training
            scans), ``uniform``, or ``default``: that of the training scans, and of a private generator, whose epsilon
            does not cover it, the uniform one.
        sites: name of each site -> its share, of any sum; sites that are not named get none. Empty: by ``mix``.
        classes: the same of disease classes, in which all sites are then alike.
        seed: draws the scans.
    """

    scans: int = 0
    mix: str = DEFAULT
    sites: dict[str, float] = field(default_factory=dict)
    classes: dict[str, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.scans >= 0, "scans", self.scans, "must not be negative; 0 makes as many as are needed")
        check(self.mix in MIXES, "mix", self.mix, f"must be one of {', '.join(MIXES)}")
        check(self.seed >= 0, "seed", self.seed, "must not be negative")
        for name in ("sites", "classes"):
            shares = getattr(self, name)
            sound = all(0.0 <= share < math.inf for share in shares.values()) and (
                sum(shares.values()) > 0 or not shares
            )
            check(sound, name, shares, "shares must not be negative, and one must be above 0")
