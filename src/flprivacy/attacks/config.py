"""Configuration of the attacks on attributes, of how their heads learn, and of the attacks on membership."""

from dataclasses import dataclass, field

from flprivacy.cohorts.sampling import check_exposure
from flprivacy.core.attributes import ATTRIBUTES
from flprivacy.core.errors import check
from flprivacy.core.vocabulary import ACCESSES, PATIENTS, SITES

LEAST_SITE_REFERENCES = 4


@dataclass(frozen=True, kw_only=True)
class LearnerConfig:
    """How the heads of an attack are trained.

    Attributes:
        epochs: passes over the exposed sample.
        batch_size: exposed scans a step, at most.
        learning_rate: Adam's learning rate.
        hidden: width of a head's hidden layer.

    Raises:
        ConfigError: a value that is not positive.
    """

    epochs: int = 40
    batch_size: int = 64
    learning_rate: float = 5e-3
    hidden: int = 32

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "hidden"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        check(self.learning_rate > 0.0, "learning_rate", self.learning_rate, "must be positive")


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """The attribute attacks to run on every target: the whole grid of one audit.

    Attributes:
        attributes: any of ``site``, ``sex``, ``age`` (age is attacked as bands and as years).
        accesses: any of ``features``, ``outputs``, ``finetune``, ``together`` (the outputs of all models of a target
            that has several) and ``joint`` (the scan's pixels together with the model's features and outputs).
        members: whether attacks are also scored on training scans that no attacker holds.
        fractions: exposed fractions of the training scans, each in (0, 1].
        seeds: attacker seeds; each draws its exposed sample, folds and batches. At least 5 for honest intervals.
        network: whether the reference study's network competes with the other learners, too. It has to be trained six
            times an attack; on the demo's features and pixels it was no better than they are (docs/method.md).
        epochs: passes of the network over the exposed sample.
        batch_size: exposed scans a step of the network.
        learning_rate: Adam's learning rate of the network.
        hidden: width of the network's hidden layer.
        views: augmented views of each exposed scan whose features are cached (1: the plain view only).
        age_edges_years: edges of the age bands; k edges make k + 1 bands.
        finetune_epochs: passes of a ``finetune`` attack, which trains the trunk too.
        finetune_learning_rate: Adam's learning rate of a ``finetune`` attack.
        extraction_batch_size: scans a forward pass of feature extraction; changes speed and memory only.
    """

    attributes: tuple[str, ...] = ATTRIBUTES
    accesses: tuple[str, ...] = ("features", "outputs", "together", "joint")
    members: bool = True
    fractions: tuple[float, ...] = (0.1, 0.25)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    network: bool = False
    epochs: int = 40
    batch_size: int = 64
    learning_rate: float = 5e-3
    hidden: int = 32
    views: int = 1
    age_edges_years: tuple[float, ...] = (45.0, 60.0, 75.0)
    finetune_epochs: int = 5
    finetune_learning_rate: float = 1e-4
    extraction_batch_size: int = 16

    def __post_init__(self) -> None:
        for name, known in (("attributes", ATTRIBUTES), ("accesses", ACCESSES)):
            values = getattr(self, name)
            check(bool(values) and set(values) <= set(known), name, values, f"choose from {', '.join(known)}")
            check(len(set(values)) == len(values), name, values, "must not repeat")
        check_exposure(self.fractions, self.seeds)
        for name in ("views", "finetune_epochs", "extraction_batch_size"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        check(
            self.finetune_learning_rate > 0.0, "finetune_learning_rate", self.finetune_learning_rate, "must be positive"
        )
        _ = self.learner  # refuses what is wrong with the others
        rising = all(a < b for a, b in zip(self.age_edges_years, self.age_edges_years[1:], strict=False))
        check(bool(self.age_edges_years) and rising, "age_edges_years", self.age_edges_years, "must rise")

    @property
    def learner(self) -> LearnerConfig:
        """How the network is trained on features that do not change."""
        return LearnerConfig(
            epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate, hidden=self.hidden
        )


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
