"""What is attacked: the attributes of every scan, from the manifest."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from flprivacy.attacks.heads import Head
from flprivacy.core.attributes import AGE_BAND, AGE_YEARS, SEX, SITE, Attribute
from flprivacy.core.cohort import SEXES, TEST, Cohort
from flprivacy.core.errors import AttackError


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeLabels:
    """One attacked attribute of every scan of a cohort.

    Attributes:
        attribute: which one.
        values: (scan,) class index, or years; NaN where the manifest says nothing.
        class_names: names of the classes, in the order of their indices; empty for years.
    """

    attribute: Attribute
    values: npt.NDArray[np.float64]
    class_names: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the attribute."""
        return self.attribute.name

    @property
    def head(self) -> Head:
        """What learns the attribute."""
        return Head(attribute=self.attribute, n_classes=len(self.class_names))


def attribute_labels(
    cohort: Cohort, *, attributes: Sequence[str], age_edges_years: Sequence[float]
) -> tuple[AttributeLabels, ...]:
    """Return the labels of the configured attributes; ``age`` gives both ``age_band`` and ``age_years``.

    Args:
        cohort: whose manifest is read.
        attributes: any of ``site``, ``sex``, ``age``.
        age_edges_years: rising edges; an age on an edge belongs to the band above it.
    """
    manifest, edges = cohort.manifest, np.asarray(age_edges_years)
    sites = manifest["site_id"].to_numpy(dtype=np.float64)
    sexes = _floats(manifest["sex"].map({sex: float(i) for i, sex in enumerate(SEXES)}))
    years = _floats(manifest["age_years"])
    bands = np.where(np.isnan(years), np.nan, np.searchsorted(edges, years, side="right"))
    known = {
        SITE.name: AttributeLabels(attribute=SITE, values=sites, class_names=cohort.meta.site_names),
        SEX.name: AttributeLabels(attribute=SEX, values=sexes, class_names=SEXES),
        AGE_BAND.name: AttributeLabels(attribute=AGE_BAND, values=bands, class_names=band_names(age_edges_years)),
        AGE_YEARS.name: AttributeLabels(attribute=AGE_YEARS, values=years, class_names=()),
    }
    return tuple(one for asked in attributes for one in known.values() if one.attribute.asked_as == asked)


def _floats(column: "pd.Series[float]") -> npt.NDArray[np.float64]:
    return pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)


def band_names(edges: Sequence[float]) -> tuple[str, ...]:
    """Name the age bands between ``edges`` (years): ``<45``, ``45-60``, ``>=60``."""
    inner = [f"{a:g}-{b:g}" for a, b in itertools.pairwise(edges)]
    return (f"<{edges[0]:g}", *inner, f">={edges[-1]:g}")


def check_scorable(cohort: Cohort, labels: AttributeLabels) -> None:
    """Refuse held-out scans on which the attack on an attribute cannot be scored.

    Raises:
        AttackError: fewer than two different values among the held-out scans.
    """
    values = labels.values[cohort.rows(TEST)]
    known = values[~np.isnan(values)]
    distinct = len(np.unique(known))
    if distinct < 2:
        raise AttackError(
            f"attribute {labels.name}: the {len(known)} held-out scans with a value hold {distinct} different one(s) "
            "and an attack needs at least 2 to be scored; leave "
            f"{labels.attribute.asked_as!r} out of attack.attributes or give a cohort in which it varies"
        )


def check_learnable(labels: AttributeLabels, rows: npt.NDArray[np.int64], *, fraction: float, seed: int) -> None:
    """Refuse an exposed sample from which nothing can be learnt about the attribute.

    Raises:
        AttackError: fewer than two different values among the exposed scans.
    """
    values = labels.values[rows]
    distinct = len(np.unique(values[~np.isnan(values)]))
    if distinct < 2:
        raise AttackError(
            f"attribute {labels.name}: the exposed sample of fraction {fraction:g} and seed {seed} ({len(rows)} scans) "
            f"holds {distinct} different value(s) and an attack needs at least 2; raise attack.fractions or leave "
            f"{labels.attribute.asked_as!r} out of attack.attributes"
        )


def left_out(cohort: Cohort, labels: Sequence[AttributeLabels]) -> dict[str, int]:
    """Count, for each attribute, the held-out scans without a value, which cannot be scored."""
    rows = cohort.rows(TEST)
    return {one.name: int(np.isnan(one.values[rows]).sum()) for one in labels}
