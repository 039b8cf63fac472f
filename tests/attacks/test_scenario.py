import numpy as np
import pytest
from attack_examples import bare_cohort, manifest

from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.scenario import prepare
from flprivacy.cohorts.sampling import exposed_rows
from flprivacy.core.errors import AttackError

CONFIG = AttackConfig(fractions=(0.25, 0.5), seeds=(3, 5))


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
