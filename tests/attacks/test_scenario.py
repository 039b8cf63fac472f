import numpy as np
import pytest
from attack_examples import bare_cohort, manifest

from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.scenario import attribute_labels, band_names, prepare
from flprivacy.cohorts.sampling import exposed_rows
from flprivacy.core.errors import AttackError

CONFIG = AttackConfig(fractions=(0.25, 0.5), seeds=(3, 5))
EDGES = (45.0, 60.0, 75.0)


def _labels(cohort, *attributes):
    return {one.name: one for one in attribute_labels(cohort, attributes=attributes, age_edges_years=EDGES)}


def test_age_is_attacked_as_bands_and_as_years():
    assert list(_labels(bare_cohort(), "age", "site")) == ["age_band", "age_years", "site"]


def test_values_follow_the_manifest():
    table = manifest()
    table.loc[:3, "sex"] = ["M", "F", None, "M"]
    table.loc[:3, "age_years"] = [44.9, 45.0, np.nan, 80.0]
    labels = _labels(bare_cohort(table), "site", "sex", "age")
    assert labels["site"].values.tolist() == table["site_id"].tolist()
    np.testing.assert_array_equal(labels["sex"].values[:4], [1, 0, np.nan, 1])
    np.testing.assert_array_equal(labels["age_band"].values[:4], [0, 1, np.nan, 3])
    np.testing.assert_array_equal(labels["age_years"].values[:4], [44.9, 45.0, np.nan, 80.0])
    assert labels["sex"].class_names == ("F", "M")
    assert labels["age_years"].attribute.is_regression
    assert [one.head.width for one in labels.values()] == [3, 2, 4, 1]


def test_age_known_to_nobody_is_all_missing():
    table = manifest()
    table["age_years"] = None
    assert np.isnan(_labels(bare_cohort(table), "age")["age_band"].values).all()


def test_bands_are_named_by_their_edges():
    assert band_names(EDGES) == ("<45", "45-60", "60-75", ">=75")
    assert band_names((62.5,)) == ("<62.5", ">=62.5")


def test_an_attribute_with_one_class_among_held_out_scans_is_refused():
    table = manifest()
    table.loc[table["split"] == "test", "sex"] = "F"
    with pytest.raises(AttackError, match=r"attribute sex: .*held-out.*at least 2.*leave 'sex' out") as caught:
        prepare(CONFIG, bare_cohort(table), protocol="standard")
    assert "\n" not in str(caught.value)


def test_an_exposed_sample_with_one_class_is_refused():
    table = manifest()
    table.loc[table["split"] == "train", "age_years"] = 50.0
    with pytest.raises(
        AttackError, match=r"attribute age_band: the exposed scans of fraction 0.25 and seed 3 .*1 diff"
    ):
        prepare(CONFIG, bare_cohort(table), protocol="standard")


def test_attributes_of_a_seed_share_its_exposed_sample():
    cohort = bare_cohort()
    scenario = prepare(CONFIG, cohort, protocol="standard")
    keys = [(exposure.fraction, exposure.sample.seed) for exposure in scenario.exposures]
    assert keys == [(0.25, 3), (0.25, 5), (0.5, 3), (0.5, 5)]
    for exposure, (fraction, seed) in zip(scenario.exposures, keys):
        np.testing.assert_array_equal(exposure.rows, exposed_rows(cohort, fraction=fraction, seed=seed))
        sexes = scenario.labels[1].values[exposure.rows]
        known = ~np.isnan(sexes)
        np.testing.assert_array_equal(exposure.sample.targets[1][known], sexes[known])
        np.testing.assert_array_equal(exposure.sample.weights[1] > 0, known)
        sample = exposure.sample
        years = sample.targets[3] * sample.spread[3] + sample.centre[3]
        known = sample.weights[3] > 0
        np.testing.assert_allclose(years[known], scenario.labels[3].values[exposure.rows][known], rtol=1e-5)


def test_only_rows_that_some_seed_exposes_are_needed():
    cohort = bare_cohort()
    scenario = prepare(CONFIG, cohort, protocol="standard")
    largest = [exposure.rows for exposure in scenario.exposures if exposure.fraction == 0.5]
    np.testing.assert_array_equal(scenario.views().exposed, np.unique(largest))
    assert len(scenario.views().exposed) < len(cohort.rows("train"))


def test_a_site_without_training_scan_is_refused():
    table = manifest()
    table.loc[table["site_id"] == 1, "split"] = "test"
    with pytest.raises(AttackError, match="'south' has no training scan"):
        prepare(CONFIG, bare_cohort(table), protocol="standard")
