"""Tests of one audit held together: exact where that is known, no false leak too many, and more power than Holm's.

tests/benchmarks/bench_power.py counts over more audits.
"""

import numpy as np
import pytest
from scipy import stats

from flprivacy.auditing import multiplicity
from flprivacy.auditing.multiplicity import holm, step_down
from flprivacy.auditing.uncertainty import Component, Composed
from tests.auditing.hits import Drawn, Hits

MANY, TESTS = 1e6, 40


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiplicity, "_DRAWS", 1000)


def of_patients(deviations: np.ndarray) -> Composed:
    one = Component(variance=1.0, square=1.0, degrees=MANY, deviations=deviations)
    return Composed(variance=1.0, degrees=MANY, patients=one, drawn=())


def test_independent_tests_are_sidak_s() -> None:
    rng = np.random.default_rng(0)
    spreads = [of_patients(rng.normal(size=1000)) for _ in range(TESTS)]
    p_values = [0.001, *np.linspace(0.3, 0.9, TESTS - 1)]
    assert step_down(p_values, spreads)[0] == pytest.approx(1 - (1 - 0.001) ** TESTS, abs=0.006)


def test_one_test_repeated_costs_nothing() -> None:
    one = of_patients(np.random.default_rng(1).normal(size=1000))
    assert step_down([0.01] * TESTS, [one] * TESTS) == pytest.approx([0.01] * TESTS, abs=0.005)
    assert holm([0.01] * TESTS)[0] == pytest.approx(0.4)


def test_what_was_rejected_leaves_the_count() -> None:
    rng = np.random.default_rng(2)
    spreads = [of_patients(rng.normal(size=1000)) for _ in range(3)]
    found = step_down([0.02, 1e-9, 0.9], spreads)
    assert found[1] < 0.001
    assert found[0] == pytest.approx(1 - (1 - 0.02) ** 2, abs=0.006)
    assert found[2] == pytest.approx(0.9, abs=0.01)


def test_adjusted_values_keep_the_order_and_are_never_lower() -> None:
    drawn = Hits(targets=2, attributes=1).audit(0)
    p_values = np.random.default_rng(3).uniform(size=len(drawn)) ** 3
    found = np.array(step_down(p_values.tolist(), [one.spread for one in drawn]))
    assert (found >= p_values).all()
    assert (np.diff(found[np.argsort(p_values)]) >= 0.0).all()
    assert step_down([0.03], [drawn[0].spread]) == [0.03]
    assert step_down([], []) == []


def leaks(drawn: list[Drawn], threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (test,) whether each is called a leak by the step-down, and by Holm's method."""
    p_values = [
        float(stats.t.sf((e.value - threshold) / e.standard_error, e.degrees)) for e in (one.excess for one in drawn)
    ]
    above = np.array([one.excess.ci_low > threshold for one in drawn])
    together = np.array(step_down(p_values, [one.spread for one in drawn]))
    return above & (together < 0.05), above & (np.array(holm(p_values)) < 0.05)


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize("planted", [0.0, 0.3])
def test_known_null_any_false_leak_is_rare_also_beside_true_ones(planted: float) -> None:
    audits = 30
    kind = Hits(attributes=2, accesses=4, targets=3, spread=0.2, planted=planted, leaks=3 if planted else 0)
    false = 0
    for seed in range(audits):
        drawn = kind.audit(seed, replicates=100)
        harmless = np.array([not one.leaks for one in drawn])
        false += bool((leaks(drawn, 0.0)[0] & harmless).any())
    print(f"any false leak in {false} of {audits} audits")
    assert false <= stats.binom.ppf(0.999, audits, 0.05)


@pytest.mark.usefixtures("few_draws")
def test_planted_leaks_are_called_more_often_than_by_holm_s_method() -> None:
    by_both = np.zeros(2)
    for seed in range(10):
        drawn = Hits(planted=0.15, leaks=2).audit(100 + seed, replicates=100)
        planted = np.array([one.leaks for one in drawn])
        by_both += [found[planted].mean() / 10 for found in leaks(drawn, 0.02)]
    print(f"called: {by_both[0]:.2f} by the step-down, {by_both[1]:.2f} by Holm's method")
    assert by_both[0] > by_both[1] + 0.15
