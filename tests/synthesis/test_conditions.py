import itertools

import numpy as np
import pytest

from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.errors import ConfigError
from flprivacy.synthesis.conditions import (
    AGE_BANDS,
    SEX_CATEGORIES,
    Conditions,
    categories,
    conditions_of,
    histogram_of,
)

KNOWN = categories(("site", "label", "sex", "age"), sites=2, classes=2)


def test_a_cohorts_conditions(small_cohort: Cohort) -> None:
    found = conditions_of(small_cohort, np.arange(32), ("sex", "age"))
    manifest = small_cohort.manifest
    assert found.site.tolist() == manifest["site_id"].tolist()
    assert found.label.tolist() == manifest["label"].tolist()
    for sex, age, category, band in zip(manifest["sex"], manifest["age_years"], found.sex, found.age_band, strict=True):
        assert SEX_CATEGORIES[category] == (sex if sex in ("F", "M") else "unknown")
        if np.isnan(age):
            assert AGE_BANDS[band] == "unknown"
        else:
            assert AGE_BANDS[band] == (
                "under 40" if age < 40 else "40 to 49" if age < 50 else "50 to 59" if age < 60 else "60 to 69"
            )
    assert conditions_of(small_cohort, np.arange(32), ("site",)).sex is None


def test_encoding_is_one_hot_in_the_order_of_the_names(small_cohort: Cohort) -> None:
    found = conditions_of(small_cohort, np.arange(32), KNOWN.names)
    encoded = KNOWN.encode(found)
    assert encoded.shape == (32, KNOWN.width) == (32, 2 + 2 + 3 + 6)
    starts = np.cumsum([0, *KNOWN.counts])
    for start, end, index in zip(
        starts, starts[1:], (found.site, found.label, found.sex, found.age_band), strict=False
    ):
        assert encoded[:, start:end].sum(axis=1).tolist() == [1.0] * 32
        assert encoded[:, start:end].argmax(axis=1).tolist() == index.tolist()
    assert np.array_equal(KNOWN.encode(found.take([3, 1])), encoded[[3, 1]])


def test_what_is_missing_or_unknown_is_refused() -> None:
    two = np.array([0, 1])
    with pytest.raises(ConfigError, match="sex, which is missing"):
        KNOWN.encode(Conditions(site=two, label=two))
    with pytest.raises(ConfigError, match=r"site is .* 0 to 1"):
        KNOWN.encode(Conditions(site=two + 1, label=two, sex=two, age_band=two))


def test_one_condition_is_mistaken_for_the_neighbours(small_cohort: Cohort) -> None:
    encoded = KNOWN.encode(conditions_of(small_cohort, np.arange(32), KNOWN.names))
    wrong = KNOWN.mistaken(encoded, np.random.default_rng(0))
    starts = np.cumsum([0, *KNOWN.counts])
    blocks = list(itertools.pairwise(starts))
    for number, (mine, found) in enumerate(zip(encoded, wrong, strict=True)):
        changed = [(a, b) for a, b in blocks if not np.array_equal(mine[a:b], found[a:b])]
        assert len(changed) <= 1
        assert all(np.array_equal(found[a:b], encoded[number - 1][a:b]) for a, b in changed)
    assert (wrong != encoded).any(axis=1).sum() > 10


def test_uniform_draws_look_at_no_cohort() -> None:
    drawn = KNOWN.uniform(6000, np.random.default_rng(0))
    for count, index in zip(KNOWN.counts, (drawn.site, drawn.label, drawn.sex, drawn.age_band), strict=True):
        assert np.bincount(index, minlength=count) == pytest.approx(6000 / count, rel=0.1)
    at_site = KNOWN.uniform(50, np.random.default_rng(0), site=1)
    assert set(at_site.site.tolist()) == {1}
    assert set(at_site.label.tolist()) == {0, 1}


def test_the_histogram_counts_every_training_scan(small_cohort: Cohort) -> None:
    rows = small_cohort.rows(TRAIN)
    histogram = histogram_of(small_cohort, rows)
    assert sum(count for *_, count in histogram) == len(rows)
    found = conditions_of(small_cohort, rows, ("sex", "age"))
    site, label, sex, age, count = histogram[0]
    same = (found.site == site) & (found.label == label) & (found.sex == sex) & (found.age_band == age)
    assert same.sum() == count


def test_scans_of_one_site_are_mistaken_for_any_other_sites() -> None:
    known = categories(("site", "label"), sites=4, classes=2)
    own = Conditions(site=np.full(400, 2), label=np.arange(400) % 2)
    encoded = known.encode(own)
    wrong = known.mistaken(encoded, np.random.default_rng(0), one_site=True)
    sites = wrong[:, :4].argmax(axis=1)
    away = sites != 2
    assert 140 <= away.sum() <= 260  # a coin says which condition is mistaken
    assert np.bincount(sites[away], minlength=4).min() == 0
    assert np.bincount(sites[away], minlength=4)[[0, 1, 3]].min() > 30
    assert np.array_equal(wrong[away, 4:], encoded[away, 4:])
    only = categories(("site",), sites=1, classes=2)
    alone = only.encode(Conditions(site=np.zeros(3, dtype=np.int64), label=np.zeros(3, dtype=np.int64)))
    assert np.array_equal(only.mistaken(alone, np.random.default_rng(0), one_site=True), alone)
