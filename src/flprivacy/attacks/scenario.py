"""What is the same for every model under attack: attributes from the manifest, exposed samples, held-out scans."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from flprivacy.attacks.answering import Known
from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.features import Views
from flprivacy.attacks.heads import Head
from flprivacy.attacks.samples import Sample
from flprivacy.cohorts.sampling import exposed_rows, member_rows
from flprivacy.core.array_types import Float32Array, FloatArray, IntArray
from flprivacy.core.attributes import AGE_BAND, AGE_YEARS, SEX, SITE, Attribute
from flprivacy.core.cohort import SEXES, TEST, Cohort
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import AttackError, check
from flprivacy.core.metrics import confusion_matrices, f1_weighted, mean_absolute_error
from flprivacy.core.vocabulary import PROTOCOLS

_FORMAT = 6
# These change speed and memory or choose among results; they are no part of a single result.
_NOT_IN_KEYS = ("accesses", "fractions", "seeds", "extraction_batch_size")


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeLabels:
    """One attacked attribute of every scan of a cohort."""

    attribute: Attribute
    values: FloatArray  # (scan,) class index, or years; NaN where the manifest says nothing
    class_names: tuple[str, ...]  # in the order of their indices; empty for years

    @property
    def name(self) -> str:
        """Name of the attribute."""
        return self.attribute.name

    @property
    def head(self) -> Head:
        """What learns the attribute."""
        return Head(attribute=self.attribute, n_classes=len(self.class_names))

    def known(self, rows: IntArray) -> IntArray:
        """Return those of ``rows`` that have a value."""
        return rows[~np.isnan(self.values[rows])]


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


def _floats(column: "pd.Series[float]") -> FloatArray:
    return pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)


def band_names(edges: Sequence[float]) -> tuple[str, ...]:
    """Name the age bands between ``edges`` (years): ``<45``, ``45-60``, ``>=60``."""
    inner = [f"{a:g}-{b:g}" for a, b in itertools.pairwise(edges)]
    return (f"<{edges[0]:g}", *inner, f">={edges[-1]:g}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Exposure:
    """What the attacker of one seed holds."""

    fraction: float  # of the training scans, in (0, 1]
    rows: IntArray  # (scan,) row numbers in the cohort, ascending
    known: Known  # what is known of these scans
    sample: Sample  # the same as the network learns it


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenario:
    """One cohort under one attack configuration."""

    config: AttackConfig
    cohort: Cohort
    protocol: str
    labels: tuple[AttributeLabels, ...]
    exposures: tuple[Exposure, ...]  # by fraction and seed; those of one fraction are of the same size
    test: IntArray  # (scan,) held-out rows, ascending
    members: IntArray  # (scan,) rows of training scans that no attacker holds, ascending; maybe none

    @cached_property
    def scored(self) -> IntArray:
        """(scan,) rows that every attack answers for, ascending: held-out scans and members."""
        return np.union1d(self.test, self.members)

    def positions(self, rows: IntArray) -> IntArray:
        """Return (scan,) where ``rows`` are among the scored ones."""
        return np.searchsorted(self.scored, rows)

    def views(self) -> Views:
        """Return which scans must be seen, and how: those that any seed of any fraction exposes, and the scored."""
        return Views(
            cohort=self.cohort,
            protocol=self.protocol,
            exposed=np.unique(np.concatenate([exposure.rows for exposure in self.exposures])),
            scored=self.scored,
            views=self.config.views,
        )

    def strength(self, scores: Float32Array) -> FloatArray:
        """Return (attribute,) strengths on held-out scans of scores (attribute, scored scan, column), by each one's
        first metric.
        """
        return np.array([self._strength(*pair) for pair in zip(self.labels, scores, strict=True)])

    def _strength(self, labels: AttributeLabels, scores: Float32Array) -> float:
        rows = labels.known(self.test)
        truth, some = labels.values[rows], scores[self.positions(rows), : labels.head.width]
        if labels.attribute.is_regression:
            return float(mean_absolute_error(truth, some[:, 0]))
        return float(f1_weighted(confusion_matrices(truth, some.argmax(axis=-1), labels.head.width)))

    def key(self, *parts: object) -> str:
        """Return a digest of all that a result depends on, ``parts`` naming the result within the scenario."""
        config = {k: v for k, v in dataclasses.asdict(self.config).items() if k not in _NOT_IN_KEYS}
        return digest_json([_FORMAT, self.cohort.meta.digest, self.protocol, config, list(parts)])[:32]


def prepare(config: AttackConfig, cohort: Cohort, *, protocol: str) -> Scenario:
    """Check that every attack of the grid can be trained and scored, and draw all exposed samples.

    Raises:
        ConfigError: an unknown protocol.
        AttackError: a site without exposed scan, or an attribute with one value only among exposed or held-out scans.
    """
    check(protocol in PROTOCOLS, "protocol", protocol, f"must be one of {', '.join(PROTOCOLS)}")
    labels = attribute_labels(cohort, attributes=config.attributes, age_edges_years=config.age_edges_years)
    test = cohort.rows(TEST)
    for one in labels:
        _check_differs(one, test, "the held-out scans", "to be scored", "give a cohort in which it varies")
    return Scenario(
        config=config,
        cohort=cohort,
        protocol=protocol,
        labels=labels,
        exposures=tuple(_draw(cohort, labels, *names) for names in itertools.product(config.fractions, config.seeds)),
        test=test,
        members=_members(config, cohort),
    )


def _members(config: AttackConfig, cohort: Cohort) -> IntArray:
    """Return the rows of the members that are scored: none if not asked for, or if their volumes were not fetched."""
    if not config.members:
        return np.empty(0, np.int64)
    rows = member_rows(cohort, fractions=config.fractions, seeds=config.seeds)
    return rows if cohort.places is None else rows[cohort.places[rows] >= 0]


def _draw(cohort: Cohort, labels: Sequence[AttributeLabels], fraction: float, seed: int) -> Exposure:
    """Draw the exposed sample of a seed, which all attributes share."""
    rows = exposed_rows(cohort, fraction=fraction, seed=seed)
    for one in labels:
        which = f"the exposed scans of fraction {fraction:g} and seed {seed}"
        _check_differs(one, rows, which, "to learn from", "raise attack.fractions")
    values = np.stack([one.values[rows] for one in labels])
    heads = tuple(one.head for one in labels)
    patients = cohort.manifest["patient_id"].to_numpy()[rows].astype(np.str_)
    return Exposure(
        fraction=fraction,
        rows=rows,
        known=Known(heads=heads, values=values, patients=patients, seed=seed),
        sample=Sample.of(heads, values, seed=seed),
    )


def _check_differs(labels: AttributeLabels, rows: IntArray, which: str, purpose: str, remedy: str) -> None:
    values = labels.values[rows]
    known = values[~np.isnan(values)]
    distinct = len(np.unique(known))
    if distinct < 2:
        raise AttackError(
            f"attribute {labels.name}: {which} ({len(known)} with a value) hold {distinct} different value(s) and an "
            f"attack needs at least 2 {purpose}; {remedy} or leave {labels.attribute.asked_as!r} out of "
            "attack.attributes"
        )
