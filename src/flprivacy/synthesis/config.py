"""Configuration of how a generator is trained, and of which scans it is asked for."""

import math
from dataclasses import dataclass, field
from typing import Any

from flprivacy.core.errors import check
from flprivacy.core.parsing import to_mapping
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.privacy.events import SITE

CONDITIONS = ("site", "label", "sex", "age")
AUGMENTATIONS = ("shift", "brightness", "contrast", "cutout")
CENTRAL, FEDERATED = "central", "federated"
GENERATOR_TOPOLOGIES = (CENTRAL, FEDERATED)
DEFAULT, TRAINING, UNIFORM = "default", "training", "uniform"
MIXES = (DEFAULT, TRAINING, UNIFORM)


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """How a generator of synthetic scans is trained: a conditional 3D GAN.

    Attributes:
        conditions: what a scan is generated for, out of ``site``, ``label``, ``sex`` and ``age`` (in bands); whoever is
            of unknown sex or age is of a category of their own.
        latent: length of the noise vector that a scan is made from.
        width: channels at the finest resolution, half the scan's; each coarser one has twice as many, eight times at
            most.
        steps: updates of the generator (``central``).
        rounds: rounds of averaging (``federated``).
        local_steps: updates of a site's generator in each round (``federated``).
        discriminator_steps: updates of the discriminator for each of the generator; private training needs more, since
            each is noisy.
        batch_size: scans a step, real ones and as many generated ones.
        generator_learning_rate: Adam's.
        discriminator_learning_rate: Adam's, or that of the optimizer which ``privacy`` names.
        r1_weight: weight of the R1 penalty (arXiv:1801.04406) on the discriminator's gradient at real scans; 0 for
            none. Private training leaves it out: the bound on spectral norms stays.
        r1_every: discriminator steps from one penalty to the next, each of which then counts so many times.
        mismatch_weight: weight of real scans with one condition mistaken, which the discriminator is to tell from
            matching ones (arXiv:1605.05396), so that conditions count sooner; 0 for none. Private training leaves it
            out.
        ema_half_life_scans: generated scans after which what is published, a running mean of the generator's weights,
            remembers half of what they were.
        augment: what real and generated scans go through before the discriminator sees them (arXiv:2006.10738), out of
            ``shift``, ``brightness``, ``contrast`` and ``cutout``. Scans are never mirrored: the heart has its side.
        topology: ``central`` or ``federated``: each site trains generator and discriminator on its own scans, and a
            server averages their weights after each round.
        checkpoint_every: generator's updates from one checkpoint to the next (``central``).
        mixed_precision: whether networks compute in bfloat16, for GPUs that have it; weights stay float32.
        seed: draws initial weights, batches, noise and augmentation.
        privacy: differential privacy of the discriminator's gradients; None where training is not private.
    """

    conditions: tuple[str, ...] = ("site", "label")
    latent: int = 64
    width: int = 8
    steps: int = 2000
    rounds: int = 20
    local_steps: int = 10
    discriminator_steps: int = 1
    batch_size: int = 8
    generator_learning_rate: float = 2e-3
    discriminator_learning_rate: float = 2e-3
    r1_weight: float = 1.0
    r1_every: int = 8
    mismatch_weight: float = 0.5
    ema_half_life_scans: int = 1000
    augment: tuple[str, ...] = ("shift", "brightness", "contrast", "cutout")
    topology: str = CENTRAL
    checkpoint_every: int = 200
    mixed_precision: bool = False
    seed: int = 0
    privacy: PrivacyConfig | None = None

    def __post_init__(self) -> None:
        for name, known in (("conditions", CONDITIONS), ("augment", AUGMENTATIONS)):
            value = getattr(self, name)
            fits = set(value) <= set(known) and len(set(value)) == len(value)
            check(fits, name, value, f"each must be one of {', '.join(known)}, named once")
        topologies = ", ".join(GENERATOR_TOPOLOGIES)
        check(self.topology in GENERATOR_TOPOLOGIES, "topology", self.topology, f"must be one of {topologies}")
        for name in ("latent", "steps", "rounds", "local_steps", "discriminator_steps", "r1_every"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        for name in ("batch_size", "ema_half_life_scans", "checkpoint_every"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        check(self.width >= 4 and self.width % 4 == 0, "width", self.width, "must be a multiple of 4, 4 at least")
        for name in ("generator_learning_rate", "discriminator_learning_rate"):
            check(getattr(self, name) > 0.0, name, getattr(self, name), "must be positive")
        for name in ("r1_weight", "mismatch_weight"):
            check(getattr(self, name) >= 0.0, name, getattr(self, name), "must not be negative")
        check(self.seed >= 0, "seed", self.seed, "must not be negative")
        unit = self.privacy.unit if self.privacy is not None else ""
        check(unit != SITE, "privacy.unit", unit, "a generator protects scan or patient")


def generator_mapping(config: GeneratorConfig) -> dict[str, Any]:
    """Return a configuration as a mapping, without privacy where there is none."""
    mapping = to_mapping(config)
    return {name: value for name, value in mapping.items() if value is not None}


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
