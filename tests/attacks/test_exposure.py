import numpy as np
import pytest
from attack_examples import bare_cohort, manifest
from sklearn.utils.class_weight import compute_sample_weight

from flprivacy.attacks.exposure import class_weights, draw_exposure, needed_rows
from flprivacy.attacks.labels import attribute_labels
from flprivacy.cohorts.sampling import exposed_rows
from flprivacy.core.errors import AttackError


def _labels(cohort):
    return attribute_labels(cohort, attributes=("site", "sex", "age"), age_edges_years=(45.0, 60.0, 75.0))


def test_fully_balanced_weights_are_scikit_learns():
    values = np.random.default_rng(0).choice(5, 60, p=[0.5, 0.3, 0.1, 0.06, 0.04]).astype(float)
    np.testing.assert_allclose(class_weights(values, 7, balance=1), compute_sample_weight("balanced", values))


def test_unknown_values_weigh_nothing_and_the_rest_sums_to_its_number():
    weights = class_weights(np.array([0, 1, np.nan, 1, 2, np.nan]), 3)
    assert weights[[2, 5]].tolist() == [0, 0]
    assert weights.sum() == pytest.approx(4)
    assert weights[0] / weights[1] == pytest.approx(np.sqrt(2))
    np.testing.assert_allclose(class_weights(np.array([0.0, 1, 1, 1]), 2, balance=0), 1)


def test_attributes_of_a_seed_share_their_exposed_sample():
    cohort = bare_cohort()
    labels = _labels(cohort)
    exposure = draw_exposure(cohort, labels, fraction=0.5, seeds=(3, 5))
    for s, seed in enumerate((3, 5)):
        np.testing.assert_array_equal(exposure.rows[s], exposed_rows(cohort, fraction=0.5, seed=seed))
        known = ~np.isnan(labels[1].values[exposure.rows[s]])
        np.testing.assert_array_equal(exposure.targets[s, 1][known], labels[1].values[exposure.rows[s]][known])
        assert (exposure.weights[s, 1][~known] == 0).all()
        assert (exposure.weights[s, 1][known] > 0).all()
    assert (exposure.rows[0] != exposure.rows[1]).any()


def test_years_are_standardised_by_the_exposed_sample():
    cohort = bare_cohort()
    exposure = draw_exposure(cohort, _labels(cohort), fraction=0.5, seeds=(0,))
    known = exposure.weights[0, 3] > 0
    standard = exposure.targets[0, 3][known]
    assert standard.mean() == pytest.approx(0, abs=1e-5)
    assert standard.std() == pytest.approx(1, abs=1e-5)
    years = standard * exposure.spread[0, 3] + exposure.centre[0, 3]
    np.testing.assert_allclose(years, cohort.manifest["age_years"].to_numpy()[exposure.rows[0]][known], rtol=1e-5)


def test_one_seed_can_be_cut_out():
    cohort = bare_cohort()
    both = draw_exposure(cohort, _labels(cohort), fraction=0.5, seeds=(3, 5))
    alone = draw_exposure(cohort, _labels(cohort), fraction=0.5, seeds=(5,))
    cut = both.only(5)
    assert cut.seeds == (5,)
    for name in ("rows", "targets", "weights", "centre", "spread"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(alone, name))


def test_only_rows_that_some_seed_exposes_are_needed():
    cohort = bare_cohort()
    exposures = [draw_exposure(cohort, _labels(cohort), fraction=f, seeds=(0, 1)) for f in (0.25, 0.5)]
    rows = needed_rows(exposures)
    np.testing.assert_array_equal(rows, np.unique(exposures[1].rows))
    assert len(rows) < len(cohort.rows("train"))


def test_a_site_without_training_scan_is_refused():
    table = manifest()
    table.loc[table["site_id"] == 1, "split"] = "test"
    cohort = bare_cohort(table)
    with pytest.raises(AttackError, match="'south' has no training scan"):
        draw_exposure(cohort, _labels(cohort), fraction=0.5, seeds=(0,))
