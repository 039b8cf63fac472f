"""What an attack infers, how its strength is measured, and the key that names an attack in every record.

Everything that depends on the attribute or the metric - names in reports, units, which direction is stronger, which
metrics there are - is looked up here and nowhere compared by name.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from flprivacy.core.vocabulary import HOLDING, JOINT, MEMORISED, TRAINING

CLASSES: Literal["classes"] = "classes"
YEARS: Literal["years"] = "years"
NO_ACCESS = "none"
HELD_OUT: Literal["held-out"] = "held-out"
MEMBERS: Literal["members"] = "members"
TOP_K = 3


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A measure of how strong an attack is."""

    name: str  # as in files, such as ``f1_weighted``
    title: str  # as in reports, such as "weighted F1"
    key: str  # as in MLflow's names of excesses and changes, such as ``f1``
    unit: str = ""  # of its values; empty for a number in [0, 1]
    higher_is_stronger: bool = True  # whether a larger value means a stronger attack
    mean_over_classes: bool = False  # whether it is the plain mean over classes, however few patients a class has
    decimals: int = 3  # with which reports show it
    scale: float = 1.0  # size of a difference that counts as large, so that different metrics can be ranked together

    @property
    def sign(self) -> float:
        """What turns a difference of values into a gain of strength: 1, or -1 where lower is stronger."""
        return 1.0 if self.higher_is_stronger else -1.0

    @property
    def highest(self) -> float:
        """The largest possible value: 1, or infinity for values in years."""
        return math.inf if self.unit else 1.0


METRICS = {
    metric.name: metric
    for metric in (
        Metric(name="f1_weighted", title="weighted F1", key="f1"),
        Metric(name="f1_macro", title="macro F1", key="f1_macro", mean_over_classes=True),
        Metric(name="balanced_accuracy", title="balanced accuracy", key="balanced_accuracy", mean_over_classes=True),
        Metric(name="accuracy", title="accuracy", key="accuracy"),
        Metric(name="top3_accuracy", title="top-3 accuracy", key="top3_accuracy"),
        Metric(name="auc_ovr", title="macro AUC", key="auc", mean_over_classes=True),
        Metric(name="auc_class", title="AUC of one class", key="auc_class"),
        Metric(
            name="mae_years",
            title="mean absolute error",
            key="years",
            unit="years",
            higher_is_stronger=False,
            decimals=2,
            scale=50.0,
        ),
    )
}
ONE_CLASS = "auc_class"  # of the class that an attack tells best from the others; found, never asked for
CLASSIFICATION_METRICS = tuple(name for name, metric in METRICS.items() if not metric.unit and name != ONE_CLASS)
REGRESSION_METRICS = tuple(name for name, metric in METRICS.items() if metric.unit)


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """Something about a scan that an attack infers.

    Attributes:
        name: as in score tables, policies and MLflow, such as ``age_band``.
        kind: ``classes`` (scores are class probabilities) or ``years`` (scores are predicted years).
        title: as in reports, such as "age band"; the name if empty.
        secret: what the attacker learns, such as "the patient's sex"; the title if empty.
        known_as: what the attacker knows of the exposed scans, such as "age"; the title if empty.
        asked_as: the name under which a configuration asks for the attack; the name if empty. ``age`` asks for bands
            and years.
        threshold: excess that the default policy tolerates, in units of the main metric.
        top_k: whether being among the three highest scores counts as a metric of its own.
        one_class: whether verdicts look at single classes, too: one hospital may be known although most are not.
    """

    name: str
    kind: Literal["classes", "years"] = CLASSES
    title: str = ""
    secret: str = ""
    known_as: str = ""
    asked_as: str = ""
    threshold: float = 0.02
    top_k: bool = False
    one_class: bool = False

    def __post_init__(self) -> None:
        for name, default in (("title", self.name), ("asked_as", self.name)):
            object.__setattr__(self, name, getattr(self, name) or default)
        for name in ("secret", "known_as"):
            object.__setattr__(self, name, getattr(self, name) or self.title)

    @property
    def is_regression(self) -> bool:
        """Whether the attack predicts years rather than a class."""
        return self.kind == YEARS

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that an attack on it may be measured by, the main one first."""
        if self.is_regression:
            return REGRESSION_METRICS
        return tuple(name for name in CLASSIFICATION_METRICS if name != "top3_accuracy" or self.top_k)

    def metrics_for(self, n_classes: int) -> tuple[str, ...]:
        """Return the metrics for ``n_classes`` classes: of three classes, three guesses are always right."""
        return tuple(name for name in self.metrics if name != "top3_accuracy" or n_classes > TOP_K)

    @property
    def metric(self) -> str:
        """Name of the main metric."""
        return self.metrics[0]


SITE = Attribute(
    name="site",
    title="hospital",
    secret="the hospital that a scan comes from",
    known_as="hospital",
    top_k=True,
    one_class=True,
)
SEX = Attribute(name="sex", secret="the patient's sex")
AGE_BAND = Attribute(name="age_band", title="age band", secret="the patient's age band", known_as="age", asked_as="age")
AGE_YEARS = Attribute(
    name="age_years",
    kind=YEARS,
    title="age in years",
    secret="the patient's age",
    known_as="age",
    asked_as="age",
    threshold=0.5,
)
BY_NAME = {one.name: one for one in (SITE, SEX, AGE_BAND, AGE_YEARS)}
ATTRIBUTES = tuple(dict.fromkeys(one.asked_as for one in BY_NAME.values()))


def attribute_of(name: str) -> Attribute:
    """Return the attribute of a name; for an unknown name, an attribute of classes that is called so."""
    return BY_NAME.get(name) or Attribute(name=name)


def metric_of(name: str) -> Metric:
    """Return the metric of a name, also of ``auc_class/north``; for an unknown name, one in [0, 1] called so."""
    return METRICS.get(name.partition("/")[0]) or Metric(name=name, title=name, key=name)


@dataclass(frozen=True, kw_only=True, order=True)
class AttackKey:
    """Names one attack: on which target, for what, by which access, with how many of the training scans.

    Attributes:
        target: name of the target under attack (``central``, ``untrained``, ``pixels`` ...).
        attribute: ``site``, ``sex``, ``age_band`` or ``age_years``.
        access: one of :data:`flprivacy.core.vocabulary.ACCESSES`; ``none`` for baselines that use no model.
        fraction: exposed fraction of the training scans, in (0, 1].
        scans: on which scans the attack is scored: ``held-out``, or ``members``, training scans that no attacker holds.
    """

    target: str
    attribute: str
    access: str
    fraction: float
    scans: str = HELD_OUT

    def __str__(self) -> str:
        where = "" if self.scans == HELD_OUT else f", on {self.scans}"
        return f"{self.target}: {self.attribute} from {self.access} at exposed fraction {self.fraction:g}{where}"

    @property
    def question(self) -> str:
        """Which of :data:`flprivacy.core.vocabulary.QUESTIONS` the attack answers."""
        if self.scans == MEMBERS:
            return MEMORISED
        return HOLDING if self.access == JOINT else TRAINING

    def on(self, target: str) -> "AttackKey":
        """Return the key of the same attack on another target."""
        return replace(self, target=target)
