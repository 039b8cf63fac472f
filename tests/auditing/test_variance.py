"""Components of variance against textbook analysis of variance."""

import numpy as np
import pytest
from scipy import stats

from flprivacy.auditing.uncertainty import Resampling, Uncertainty, pooled_between, resample_patients, uncertainty

WIDENED = {n: (n - 1) / stats.chi2.median(n - 1) * (1 + 1 / (n - 1) ** 3) for n in (2, 4, 5, 6)}


def of_seeds(
    values: np.ndarray,
    resampling: Resampling,
    *,
    drawn: np.ndarray | None = None,
    share: float = 0.0,
    floor: float = 0.0,
) -> Uncertainty:
    """The uncertainty of a mean over seeds, (row of weights, seed), that may rest on random initialisations."""
    found = [] if drawn is None else [pooled_between([[(drawn, resampling)]]).times(share)]
    return uncertainty(values.mean(axis=1), [values], resampling, known=found, floor=floor)


@pytest.fixture(scope="module")
def resampling() -> Resampling:
    return resample_patients(np.arange(50), replicates=200, seed=0)


def alike(values: np.ndarray, resampling: Resampling) -> np.ndarray:
    """Values that are the same whatever the patients."""
    return np.broadcast_to(values, (len(resampling.weights), *values.shape))


def test_seeds_alone(resampling: Resampling) -> None:
    seeds = np.array([0.30, 0.36, 0.33, 0.41, 0.35])
    found = of_seeds(alike(seeds, resampling), resampling)
    assert found.variance == pytest.approx(WIDENED[5] * seeds.var(ddof=1) / 5)
    assert found.degrees == pytest.approx(4)


def test_patients_alone(resampling: Resampling) -> None:
    rng = np.random.default_rng(0)
    one = resampling.weights @ rng.normal(size=50) / resampling.weights.sum(axis=1)
    found = of_seeds(np.stack([one] * 5, axis=1), resampling)
    assert found.variance == pytest.approx(one[1:201].var(ddof=1), rel=0.2)
    assert found.degrees == pytest.approx(49)


def test_noise_of_the_patients_is_not_counted_as_the_seeds(resampling: Resampling) -> None:
    """Seeds that differ only by whom they err on: the variance of the mean is the patients' alone."""
    rng = np.random.default_rng(1)
    errors = rng.normal(size=(400, 50, 5))
    ratios = []
    for error in errors:
        values = resampling.weights @ error / resampling.weights.sum(axis=1, keepdims=True)
        ratios.append(of_seeds(values, resampling).variance / (1 / 250))
    assert 0.9 < np.mean(ratios) < 1.45  # counted twice, it would be above 2; cut off at 0, a little above 1
    assert np.median(ratios) < 1.25


def test_initialisations_alone(resampling: Resampling) -> None:
    by_model = np.array([0.2, 0.3, 0.25, 0.4])
    values = np.repeat(by_model[:, None], 5, axis=1)
    found = of_seeds(
        alike(values.mean(axis=0), resampling), resampling, drawn=alike(values, resampling), share=1 + 1 / 4
    )
    assert found.variance == pytest.approx(1.25 * WIDENED[4] * by_model.var(ddof=1))
    assert found.degrees == pytest.approx(3)


def test_interaction_of_initialisations_and_seeds_equals_the_anova_table(resampling: Resampling) -> None:
    values = np.random.default_rng(3).normal(size=(6, 5)) + 2.0 * np.arange(6)[:, None]  # (initialisation, seed)
    rows, columns, grand = values.mean(axis=1), values.mean(axis=0), values.mean()
    between_rows = 5 * ((rows - grand) ** 2).sum() / 5
    residual = sum((values[r, s] - rows[r] - columns[s] + grand) ** 2 for r in range(6) for s in range(5)) / 20
    by_hand = (between_rows - residual) / 5
    flat = np.full(5, grand)  # no spread over seeds: the initialisations alone are left
    found = of_seeds(alike(flat, resampling), resampling, drawn=alike(values, resampling), share=1.0)
    assert found.variance == pytest.approx(WIDENED[6] * by_hand)


def test_two_components_have_satterthwaite_degrees_between_theirs(resampling: Resampling) -> None:
    rng = np.random.default_rng(0)
    one = resampling.weights @ rng.normal(size=50) / resampling.weights.sum(axis=1)
    seeds = np.sqrt(one[1:201].var() * 5 / WIDENED[5]) * np.array([-1.0, -1.0, 0.0, 1.0, 1.0])
    patients = of_seeds(np.stack([one] * 5, axis=1), resampling).variance
    found = of_seeds(one[:, None] + seeds, resampling)
    other = found.variance - patients
    assert found.degrees == pytest.approx(found.variance**2 / (patients**2 / 49 + other**2 / 4))
    assert 4 < found.degrees < 49


def test_a_sample_in_which_nothing_varies_keeps_the_floor(resampling: Resampling) -> None:
    found = of_seeds(alike(np.full(5, 0.5), resampling), resampling, floor=1e-4)
    assert (found.variance, found.degrees) == (pytest.approx(1e-4), pytest.approx(49))


def test_quantile_and_p_value_are_student_s() -> None:
    spread = Uncertainty(variance=0.04, degrees=6.5)
    assert spread.quantile(0.9) == pytest.approx(stats.t.ppf(0.95, 6.5))
    assert spread.p_value(-0.3) == pytest.approx(2 * stats.t.sf(1.5, 6.5))
    assert spread.p_value(0.0) == 1.0
