"""Tiny cohorts and feature tables for the tests of attacks."""

from pathlib import Path

import numpy as np
import pandas as pd

from flprivacy.attacks.heads import Head
from flprivacy.attacks.samples import Sample
from flprivacy.core.attributes import BY_NAME
from flprivacy.core.cohort import Cohort
from tests.cohort_builder import build_cohort, cohort_meta

SHAPE = (8, 32, 40)
SITE_NAMES = ("north", "south", "west")


def manifest(scans=96, *, seed=0, sites=3, missing=0.1):
    """A manifest without volume columns: attributes drawn independently, a tenth of sex and age missing."""
    rng = np.random.default_rng([seed, scans])
    ages = rng.uniform(20, 90, scans).round(1)
    ages[rng.random(scans) < missing] = np.nan
    sexes = np.where(rng.random(scans) < 0.5, "F", "M").astype(object)
    sexes[rng.random(scans) < missing] = None
    return pd.DataFrame(
        {
            "scan_id": [f"scan{i:04d}" for i in range(scans)],
            "patient_id": [f"patient{i:04d}" for i in range(scans)],
            "site_id": np.arange(scans) % sites,
            "split": np.where(np.arange(scans) // sites % 4 == 3, "test", "train"),
            "label": rng.integers(0, 3, scans),
            "sex": sexes,
            "age_years": ages,
        }
    )


def bare_cohort(table=None, *, sites=3):
    """A cohort without volumes, for what needs its manifest only."""
    table = manifest(sites=sites) if table is None else table
    return Cohort(meta=meta(sites=sites), manifest=table, folder=Path("nowhere"))


def meta(*, sites=3, shape=SHAPE):
    return cohort_meta(shape, SITE_NAMES[:sites], classes="abc")


def written_cohort(folder, *, scans=96, seed=0, shape=SHAPE):
    """A cohort on disk; a scan's texture depends on its site, its brightness on age, one corner on sex."""
    table = manifest(scans, seed=seed)
    return build_cohort(folder, table, meta(shape=shape), _volumes(table, shape, seed))


def _volumes(table, shape, seed):
    for row in range(len(table)):
        rng = np.random.default_rng([seed, row])
        one = table.iloc[row]
        volume = rng.normal(0, 4 + 8 * one.site_id, shape) + 100
        volume[1:4, 6:20, 8:30] += 0 if np.isnan(one.age_years) else one.age_years
        volume[5:, :9, -12:] += 60 * (one.sex == "F")
        yield volume.clip(0, 255).astype(np.uint8)


def sample_for(values_by_name, classes, rows, *, seed):
    """What an attacker knows of ``rows``: name -> (scan,) values, and name -> number of classes (0 for years)."""
    heads = [Head(attribute=BY_NAME[name], n_classes=classes[name]) for name in values_by_name]
    values = np.stack([np.asarray(values, float)[rows] for values in values_by_name.values()])
    return Sample.of(heads, values, seed=seed)
