import numpy as np
import pytest
from attack_examples import sample_for
from sklearn.utils.class_weight import compute_sample_weight

from flprivacy.attacks.config import LearnerConfig
from flprivacy.attacks.heads import KEEP
from flprivacy.attacks.samples import Batches, class_weights, equal_batches, random_bits

WIDTH = 9
CLASSES = {"site": 5, "sex": 2, "age_band": 4, "age_years": 0}
CONFIG = LearnerConfig(batch_size=32)


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(0)
    made = {name: rng.integers(0, max(n, 1), 70).astype(float) for name, n in CLASSES.items()}
    made["age_years"] = rng.normal(60, 12, 70)
    made["sex"][::9] = made["age_years"][::7] = np.nan
    return made


def test_fully_balanced_weights_are_scikit_learns():
    values = np.random.default_rng(0).choice(5, 60, p=[0.5, 0.3, 0.1, 0.06, 0.04]).astype(float)
    np.testing.assert_allclose(class_weights(values, 7, balance=1), compute_sample_weight("balanced", values))


def test_unknown_values_weigh_nothing_and_the_rest_sums_to_its_number():
    weights = class_weights(np.array([0, 1, np.nan, 1, 2, np.nan]), 3)
    assert weights[[2, 5]].tolist() == [0, 0]
    assert weights.sum() == pytest.approx(4)
    assert weights[0] / weights[1] == pytest.approx(np.sqrt(2))
    np.testing.assert_allclose(class_weights(np.array([0.0, 1, 1, 1]), 2, balance=0), 1)


def test_years_are_standardised_by_the_exposed_sample_and_turned_back_within_its_range(values):
    sample = sample_for(values, CLASSES, np.arange(70), seed=0)
    years = values["age_years"]
    known = ~np.isnan(years)
    np.testing.assert_array_equal(sample.weights[3], known)
    standard = sample.targets[3][known]
    assert (standard.mean(), standard.std()) == pytest.approx((0, 1), abs=1e-5)
    scores = np.repeat(sample.targets[:, :, None], 2, axis=2)
    np.testing.assert_allclose(sample.in_units(scores)[3, known, 0], years[known], rtol=1e-5)
    np.testing.assert_array_equal(sample.in_units(scores)[:3], scores[:3])
    assert sample.in_units(scores + 100)[3].max() == pytest.approx(np.nanmax(years), rel=1e-5)


@pytest.mark.parametrize(
    ("n", "batch", "steps", "size"), [(10, 128, 1, 10), (300, 128, 3, 100), (7, 3, 3, 3), (1, 4, 1, 1)]
)
def test_batches_are_equal_and_leave_no_scan_out(n, batch, steps, size):
    batches = equal_batches(n, batch, np.random.default_rng(0))
    assert batches.shape == (steps, size)
    assert set(batches.ravel()) == set(range(n))
    np.testing.assert_array_equal(batches.ravel()[n:], batches.ravel()[: steps * size - n])


def test_a_heads_batches_and_masks_do_not_depend_on_the_other_heads(values):
    rows = np.arange(70)
    many = sample_for(values, CLASSES, rows, seed=3)
    one = sample_for({"sex": values["sex"]}, CLASSES, rows, seed=3)
    seen = set()
    pair = (Batches(sample, CONFIG, views=2).epoch(features=WIDTH) for sample in (many, one))
    for (scans, views, batch), (same_scans, same_views, twin) in zip(*pair, strict=True):
        np.testing.assert_array_equal(scans, same_scans)
        np.testing.assert_array_equal(views, same_views)
        for name in ("targets", "weights", "keep_features", "keep_hidden"):
            np.testing.assert_array_equal(getattr(batch, name)[1], getattr(twin, name)[0])
        assert batch.keep_features.shape == (4, 24, WIDTH)
        assert set(np.unique(batch.keep_hidden)) == {0, 1 / KEEP}
        assert (batch.keep_hidden[0] != batch.keep_hidden[1]).any()
        seen |= set(views)
    assert seen == {0, 1}


def test_bits_are_those_of_one_draw_of_bytes_after_another_and_fair():
    shapes = ((100, 103), (7, 3))
    drawn = random_bits(np.random.default_rng(0), 3, shapes)
    rng = np.random.default_rng(0)
    for step in range(3):
        for bits, (rows, columns) in zip(drawn, shapes):
            assert bits[step].tobytes() == rng.bytes(int(np.ceil(rows * columns / 8)))
    assert np.unpackbits(drawn[0]).mean() == pytest.approx(0.5, abs=0.01)
