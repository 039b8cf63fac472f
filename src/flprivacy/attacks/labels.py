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
    """One attacked attribute of every scan of a cohort."""

    attribute: Attribute
    values: npt.NDArray[np.float64]  # (scan,) class index, or years; NaN where the manifest says nothing
    class_names: tuple[str, ...]  # in the order of their indices; empty for years

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
    """Return the labels of the configured attributes; ``age`` gives both bands and years.

    An age on an edge belongs to the band above it.
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
    """Raise AttackError if an attack on the attribute cannot be scored: the held-out scans do not differ in it."""
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
    """Raise AttackError if nothing can be learnt about the attribute: the exposed scans do not differ in it."""
    values = labels.values[rows]
    distinct = len(np.unique(values[~np.isnan(values)]))
    if distinct < 2:
        raise AttackError(
            f"attribute {labels.name}: the exposed sample of fraction {fraction:g} and seed {seed} ({len(rows)} scans) "
            f"holds {distinct} different value(s) and an attack needs at least 2; raise attack.fractions or leave "
            f"{labels.attribute.asked_as!r} out of attack.attributes"
        )
