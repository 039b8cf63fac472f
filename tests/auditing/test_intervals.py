"""Intervals within the range of the metric."""

import numpy as np
import pytest
from scipy import stats

from flprivacy.auditing.intervals import effective_patients, error_interval, least_variance, metric_interval
from flprivacy.auditing.runs import HeldOut
from flprivacy.auditing.uncertainty import Component, Composed, Uncertainty
from flprivacy.core.attributes import attribute_of


def people(sizes: tuple[int, ...], attribute: str = "site") -> HeldOut:
    """One scan a patient, ``sizes`` patients of each class."""
    truth = np.repeat(np.arange(len(sizes)), sizes).astype(float)
    names = np.arange(len(truth)).astype(str)
    return HeldOut(
        attribute=attribute_of(attribute),
        class_names=tuple("abcdefgh"[: len(sizes)]),
        scan_ids=names,
        patient_ids=names,
        patients=np.arange(len(truth)),
        truth=truth,
    )


def interval(value: float, variance: float, degrees: float = 1e6, metric: str = "accuracy") -> tuple[float, float]:
    spread = Uncertainty(variance=variance, degrees=degrees)
    return metric_interval(value, spread, metric=metric, held_out=people((60, 40)), confidence=0.95)


@pytest.mark.parametrize("errors", [1, 5, 50, 99])
def test_a_proportion_gets_wilson_s_interval(errors: int) -> None:
    p = 1 - errors / 100
    expected = stats.binomtest(100 - errors, 100).proportion_ci(0.95, method="wilson")
    assert interval(p, p * (1 - p) / 100) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_in_the_middle_it_is_the_t_interval() -> None:
    low, high = interval(0.5, 0.02**2, degrees=50.0)
    reach = stats.t.ppf(0.975, 50.0) * 0.02
    assert (low, high) == (pytest.approx(0.5 - reach, abs=0.003), pytest.approx(0.5 + reach, abs=0.003))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_no_error_among_n_patients_is_no_certainty(value: float) -> None:
    low, high = interval(value, 0.0)
    assert low >= 0.0
    assert high <= 1.0
    assert high - low == pytest.approx(1.96**2 / (100 + 1.96**2), rel=1e-3)


def test_one_error_in_many_runs_is_hardly_more_certain() -> None:
    value = 1 - 1 / (105 * 100)  # one of 105 runs errs on one of 100 patients
    low, _ = interval(value, (1 / (105 * 100)) ** 2)
    assert 1 - low > 0.03


def test_the_interval_holds_the_value_and_stays_in_range() -> None:
    rng = np.random.default_rng(0)
    for value, variance in zip(rng.random(300), rng.random(300) ** 4, strict=True):
        low, high = interval(value, variance, degrees=4.0)
        assert 0.0 <= low <= value <= high <= 1.0


def test_years_are_symmetric_and_not_negative() -> None:
    assert interval(4.0, 0.25, metric="mae_years") == (pytest.approx(3.02, abs=1e-3), pytest.approx(4.98, abs=1e-3))
    assert interval(0.5, 0.25, metric="mae_years")[0] == 0.0


def test_the_error_of_an_attack_may_be_higher_by_what_few_patients_do_not_show() -> None:
    spread = Uncertainty(variance=0.64, degrees=39.0)
    ends = {n: error_interval(6.0, spread, 0.95, largest=60.0, patients=n) for n in (40, 4000)}
    reach = spread.quantile(0.95) * 0.8
    assert ends[40][0] == ends[4000][0] == pytest.approx(6.0 - reach)
    assert ends[40][1] > 6.0 + 1.2 * reach
    assert ends[4000][1] == pytest.approx(6.0 + reach, abs=0.01)
    assert error_interval(6.0, spread, 0.95, largest=5.0, patients=40)[1] == pytest.approx(6.0 + reach)


def composed(agreement: float, *, degrees: float, scarce: bool) -> Composed:
    """Patients and seeds of which the latter are as far apart as ``agreement`` says, in patients' variances."""
    patients = Component(variance=1.0, square=1.0, degrees=99.0)
    seeds = Component(variance=0.0, square=agreement, degrees=degrees, noise=agreement)
    return Composed(variance=1.0, degrees=99.0, patients=patients, drawn=(seeds,), scarce=(seeds,) if scarce else ())


def test_of_two_seeds_that_agree_too_little_is_known_for_the_interval_of_many() -> None:
    many, few = (composed(0.1, degrees=1.0, scarce=scarce).quantile(0.95) for scarce in (False, True))
    assert many == pytest.approx(stats.t.ppf(0.975, 99))
    assert few == pytest.approx(np.sqrt(stats.t.ppf(0.975, 99) ** 2 + 0.1 * stats.t.ppf(0.975, 1) ** 2))
    assert composed(0.0, degrees=1.0, scarce=True).quantile(0.95) == pytest.approx(many)


def test_a_mean_over_classes_rests_on_its_small_classes() -> None:
    held_out = people((97, 2, 1))
    assert effective_patients(held_out, "accuracy") == 100.0
    assert effective_patients(held_out, "balanced_accuracy") == pytest.approx(9 / (1 / 97 + 1 / 2 + 1))
    assert least_variance(held_out, "f1_weighted") == pytest.approx(2e-4)
    assert least_variance(held_out, "f1_macro") > 10 * least_variance(held_out, "f1_weighted")


def test_the_floor_of_a_difference_in_years_scales_with_the_ages() -> None:
    held_out = people((50, 50), attribute="age_years")
    assert least_variance(held_out, "mae_years") == pytest.approx(2 * 0.25 / 100**2)
