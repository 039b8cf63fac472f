"""What can be inferred about a scan: each attribute's name, kind, metrics and direction, described once."""

from dataclasses import dataclass
from typing import Literal

CLASSIFICATION_METRICS = ("f1_weighted", "f1_macro", "balanced_accuracy", "accuracy", "top3_accuracy")
REGRESSION_METRICS = ("mae_years",)


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One attribute that an attack infers.

    Attributes:
        name: as in score tables, policies and MLflow: ``site``, ``sex``, ``age_band`` or ``age_years``.
        asked_as: the name under which a configuration asks for it; ``age`` asks for bands and years.
        kind: ``classes``, or ``years`` for a regression.
        metrics: that an attack on it is measured by, the main one first.
        higher_is_stronger: whether a higher metric means a stronger attack; not so for an error in years.
    """

    name: str
    asked_as: str
    kind: Literal["classes", "years"]
    metrics: tuple[str, ...]
    higher_is_stronger: bool

    @property
    def metric(self) -> str:
        """The main metric."""
        return self.metrics[0]

    @property
    def is_regression(self) -> bool:
        """Whether the attack predicts years, not a class."""
        return self.kind == "years"


def _classes(name: str, asked_as: str) -> Attribute:
    return Attribute(
        name=name, asked_as=asked_as, kind="classes", metrics=CLASSIFICATION_METRICS, higher_is_stronger=True
    )


SITE = _classes("site", "site")
SEX = _classes("sex", "sex")
AGE_BAND = _classes("age_band", "age")
AGE_YEARS = Attribute(
    name="age_years", asked_as="age", kind="years", metrics=REGRESSION_METRICS, higher_is_stronger=False
)
BY_NAME = {one.name: one for one in (SITE, SEX, AGE_BAND, AGE_YEARS)}
ATTRIBUTES = tuple(dict.fromkeys(one.asked_as for one in BY_NAME.values()))
