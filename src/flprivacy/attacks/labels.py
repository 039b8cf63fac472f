"""What is attacked: the attributes of every scan, from the manifest."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from flprivacy.core.cohort import SEXES, TEST, Cohort
from flprivacy.core.errors import AttackError

# What each configured attribute is attacked as; the position in the flattened tuple names random streams.
ATTACKED_AS = {"site": ("site",), "sex": ("sex",), "age": ("age_band", "age_years")}
STREAMS = {"site": 0, "sex": 1, "age_band": 2, "age_years": 3}


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeLabels:
    """One attacked attribute of every scan of a cohort.

    Attributes:
        name: ``site``, ``sex``, ``age_band`` or ``age_years``.
        values: (scan,) class index, or years for ``age_years``; NaN where the manifest says nothing.
        class_names: names of the classes, in the order of their indices; empty for ``age_years``.
    """

    name: str
    values: npt.NDArray[np.float64]
    class_names: tuple[str, ...]

    @property
    def regression(self) -> bool:
        """Whether years are predicted rather than a class."""
        return not self.class_names

    @property
    def width(self) -> int:
        """Number of score columns: the classes, or 1 for years."""
        return max(1, len(self.class_names))


def attribute_labels(
    cohort: Cohort, *, attributes: Sequence[str], age_edges_years: Sequence[float]
) -> tuple[AttributeLabels, ...]:
    """Return the labels of the configured attributes; ``age`` gives both ``age_band`` and ``age_years``.

    Args:
        cohort: whose manifest is read.
        attributes: any of ``site``, ``sex``, ``age``.
        age_edges_years: rising edges; an age on an edge belongs to the band above it.
    """
    return tuple(_labels(cohort, name, age_edges_years) for asked in attributes for name in ATTACKED_AS[asked])


def _labels(cohort: Cohort, name: str, edges: Sequence[float]) -> AttributeLabels:
    manifest = cohort.manifest
    if name == "site":
        sites = manifest["site_id"].to_numpy(dtype=np.float64)
        return AttributeLabels(name=name, values=sites, class_names=cohort.meta.site_names)
    if name == "sex":
        codes = manifest["sex"].map({sex: float(i) for i, sex in enumerate(SEXES)})
        return AttributeLabels(name=name, values=_floats(codes), class_names=SEXES)
    years = _floats(manifest["age_years"])
    if name == "age_years":
        return AttributeLabels(name=name, values=years, class_names=())
    bands = np.where(np.isnan(years), np.nan, np.searchsorted(np.asarray(edges), years, side="right"))
    return AttributeLabels(name=name, values=bands, class_names=band_names(edges))


def _floats(column: "pd.Series[float]") -> npt.NDArray[np.float64]:
    return pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)


def band_names(edges: Sequence[float]) -> tuple[str, ...]:
    """Name the age bands between ``edges`` (years): ``<45``, ``45-60``, ``>=60``."""
    inner = [f"{a:g}-{b:g}" for a, b in itertools.pairwise(edges)]
    return (f"<{edges[0]:g}", *inner, f">={edges[-1]:g}")


def scored_rows(cohort: Cohort, labels: AttributeLabels) -> npt.NDArray[np.int64]:
    """Return the held-out rows that have a value for the attribute, ascending.

    Raises:
        AttackError: no held-out scan has one, or all have the same.
    """
    rows = cohort.rows(TEST)
    known = rows[~np.isnan(labels.values[rows])]
    distinct = len(np.unique(labels.values[known]))
    if distinct < 2:
        raise AttackError(
            f"attribute {labels.name}: the {len(known)} held-out scans with a value hold {distinct} different one(s) "
            f"and an attack needs at least 2 to be scored; leave {_asked(labels.name)!r} out of attack.attributes or "
            "give a cohort in which it varies"
        )
    return known


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
            f"{_asked(labels.name)!r} out of attack.attributes"
        )


def left_out(cohort: Cohort, labels: Sequence[AttributeLabels]) -> dict[str, int]:
    """Count, for each attribute, the held-out scans without a value, which cannot be scored."""
    rows = cohort.rows(TEST)
    return {one.name: int(np.isnan(one.values[rows]).sum()) for one in labels}


def _asked(name: str) -> str:
    return next(asked for asked, names in ATTACKED_AS.items() if name in names)
