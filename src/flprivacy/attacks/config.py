"""Configuration of the attribute attacks and of how their heads learn."""

from dataclasses import dataclass

from flprivacy.cohorts.sampling import check_exposure
from flprivacy.core.attributes import ATTRIBUTES
from flprivacy.core.errors import check
from flprivacy.core.vocabulary import ACCESSES


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
