import numpy as np
import pytest
from attack_examples import bare_cohort, manifest

from flprivacy.attacks.labels import attribute_labels, band_names, check_learnable, check_scorable
from flprivacy.core.errors import AttackError

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
    cohort = bare_cohort(table)
    with pytest.raises(AttackError, match=r"attribute sex: .*held-out.*at least 2.*leave 'sex' out") as caught:
        check_scorable(cohort, _labels(cohort, "sex")["sex"])
    assert "\n" not in str(caught.value)


def test_an_exposed_sample_with_one_class_is_refused():
    table = manifest()
    table.loc[table["split"] == "train", "age_years"] = 50.0
    cohort = bare_cohort(table)
    with pytest.raises(
        AttackError, match=r"attribute age_band: the exposed sample of fraction 0.5 and seed 7 .*1 diff"
    ):
        check_learnable(_labels(cohort, "age")["age_band"], cohort.rows("train"), fraction=0.5, seed=7)
