"""Accounting against dp-accounting's own published examples, and against itself.

The examples are in google/differential-privacy, python/dp_accounting/dp_accounting:
``pld/pld_privacy_accountant_test.py`` (``test_gaussian_basic``, ``test_poisson_subsampled_gaussian``),
``pld/accountant_test.py`` (``test_get_smallest_subsampled_gaussian_noise``) and
``rdp/rdp_privacy_accountant_test.py`` (``test_compute_epsilon_delta_gaussian``).
"""

import itertools
import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting import pld, rdp
from scipy import stats

from flprivacy.core.errors import ConfigError
from flprivacy.privacy.accounting import PrivacySpent, account, population
from flprivacy.privacy.budget import calibrate_noise_multiplier
from flprivacy.privacy.events import SampledGaussianSteps
from flprivacy.privacy.mechanisms import pld_accountant, rdp_epsilon, renyi_divergences


def event(**change):
    settings = {
        "steps": 100,
        "sampling_rate": 0.1,
        "noise_multiplier": 2.0,
        "clip_norm": 1.0,
        "unit": "scan",
        "population": 1,
    }
    return SampledGaussianSteps(**(settings | change))


@pytest.mark.parametrize(
    ("example", "delta", "epsilon"),
    [
        ({"steps": 3, "sampling_rate": 1.0, "noise_multiplier": math.sqrt(3)}, 0.126936, 1.0),
        ({"steps": 3, "sampling_rate": 0.2, "noise_multiplier": 0.5}, 0.15594, 1.0),
        ({"steps": 1, "sampling_rate": 0.01, "noise_multiplier": 0.67379294682}, 1e-5, 1.0),
        ({"steps": 25, "sampling_rate": 0.001, "noise_multiplier": 3.20956502598 / 6}, 1e-5, 1.0),
    ],
)
def test_pld_agrees_with_dp_accountings_examples(example, delta, epsilon):
    assert account([event(**example)], delta=delta).epsilon == pytest.approx(epsilon, abs=1e-3)


def test_rdp_agrees_with_dp_accountings_example():
    example = event(steps=1, sampling_rate=1.0, noise_multiplier=4.530877117)
    spent = account([example], delta=1e-6)
    assert spent.epsilon_rdp == pytest.approx(1.0, abs=2e-3)
    assert spent.epsilon < spent.epsilon_rdp


def test_both_accountants_are_dp_accountings_own():
    raw = dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(2.0)), 100
    )
    spent = account([event()], delta=1e-5)
    assert spent.epsilon == pytest.approx(pld.PLDAccountant().compose(raw).get_epsilon(1e-5), rel=1e-3)
    assert spent.epsilon_rdp == pytest.approx(rdp.RdpAccountant().compose(raw).get_epsilon(1e-5))


def test_two_kinds_of_steps_compose():
    both = account([event(steps=10), event(steps=10)], delta=1e-5)
    assert both.epsilon == pytest.approx(account([event(steps=20)], delta=1e-5).epsilon, rel=1e-3)
    mixed = account([event(steps=10), event(steps=10, noise_multiplier=3.0)], delta=1e-5)
    assert account([event(steps=10)], delta=1e-5).epsilon < mixed.epsilon < both.epsilon
    assert mixed.steps == 20


def test_epsilon_never_falls_with_steps_and_stopping_early_costs_less():
    planned = event(steps=400, sampling_rate=0.02, noise_multiplier=1.0)
    steps = (0, 1, 100, 400)
    spent = [account([planned.with_steps(n)], delta=1e-5) for n in steps]
    for values in ([s.epsilon for s in spent], [s.epsilon_rdp for s in spent]):
        assert all(a <= b for a, b in itertools.pairwise(values))
        assert values[0] == 0.0
    assert spent[2].epsilon < 0.8 * spent[-1].epsilon
    assert [s.steps for s in spent] == list(steps)


def test_disjoint_clients_compose_in_parallel_and_the_worst_is_stated():
    small = event(client="site-01", sampling_rate=0.2, population=80)
    large = event(client="site-02", sampling_rate=0.02, population=800)
    spent = account([small, large], delta=1e-5)
    assert spent.clients == ("site-01",)
    assert spent.epsilon == account([small], delta=1e-5).epsilon
    assert population([small, large]) == 880


def test_clients_that_share_a_patient_compose_one_after_the_other():
    first, second = event(client="site-01"), event(client="site-02")
    shared = account([first, second], delta=1e-5, exposures=[["site-01", "site-02"]])
    assert shared.clients == ("site-01", "site-02")
    assert shared.epsilon == pytest.approx(account([event(steps=200)], delta=1e-5).epsilon, rel=1e-3)
    with pytest.raises(ConfigError, match="client 'site-09'"):
        account([first], delta=1e-5, exposures=[["site-09"]])


def test_a_patient_with_several_scans_is_a_group():
    alone = event(steps=200, sampling_rate=0.05, noise_multiplier=2.0, scans_per_patient=1)
    three = event(steps=200, sampling_rate=0.05, noise_multiplier=2.0, scans_per_patient=3)
    scan, patient = account([three], delta=1e-5), account([three], delta=1e-5, unit="patient")
    assert (scan.unit, scan.group_size, patient.unit, patient.group_size) == ("scan", 1, "patient", 3)
    assert scan.epsilon < patient.epsilon <= patient.epsilon_rdp
    assert account([alone], delta=1e-5, unit="patient").epsilon == scan.epsilon
    # Far better than scans that always come together, which is a valid but crude bound.
    crude = event(steps=200, sampling_rate=1 - 0.95**3, noise_multiplier=2.0 / 3)
    assert patient.epsilon < 0.7 * account([crude], delta=1e-5).epsilon


def test_a_group_without_sampling_is_a_gaussian_of_less_noise():
    """At rate 1 all k scans take part, so the sum moves by k clip norms: exactly noise / k."""
    three = event(steps=10, sampling_rate=1.0, noise_multiplier=12.0, scans_per_patient=3)
    plain = account([event(steps=10, sampling_rate=1.0, noise_multiplier=4.0)], delta=1e-5)
    grouped = account([three], delta=1e-5, unit="patient")
    assert grouped.epsilon == pytest.approx(plain.epsilon, rel=2e-3)
    assert grouped.epsilon_rdp == pytest.approx(plain.epsilon_rdp, rel=1e-6)


def test_group_epsilon_bounds_simulated_losses():
    """Naive reference: the mixture's hockey-stick divergence for one step, by integration on a grid."""
    q, sigma, k = 0.3, 1.5, 2
    one = event(steps=1, sampling_rate=q, noise_multiplier=sigma, scans_per_patient=k)
    x = np.linspace(-30, 40, 400_001)
    mixture = sum(stats.binom.pmf(j, k, q) * stats.norm.pdf(x, j, sigma) for j in range(k + 1))
    base = stats.norm.pdf(x, 0, sigma)
    for epsilon in (0.5, 1.5):
        width = x[1] - x[0]
        deltas = [np.maximum(a - math.exp(epsilon) * b, 0).sum() * width for a, b in ((mixture, base), (base, mixture))]
        accountant = pld_accountant([one], group_size=k, interval=2e-3)
        assert accountant.get_delta(epsilon) == pytest.approx(max(deltas), rel=0.02, abs=1e-9)


def test_renyi_divergences_agree_with_dp_accounting_at_integer_orders():
    one = event(steps=1, sampling_rate=0.05, noise_multiplier=1.2)
    orders = [2, 3, 8, 32, 63, 128]
    accountant = rdp.RdpAccountant(orders)
    accountant.compose(dp_accounting.PoissonSampledDpEvent(0.05, dp_accounting.GaussianDpEvent(1.2)))
    assert renyi_divergences(one, 1, orders) == pytest.approx(accountant._rdp, rel=1e-6)


def test_rdp_of_groups_of_one_is_the_ordinary_one():
    one = event(steps=300, sampling_rate=0.02, noise_multiplier=1.0)
    orders = list(range(2, 33))
    ours, _ = rdp.rdp_privacy_accountant.compute_epsilon(orders, 300 * renyi_divergences(one, 1, orders), 1e-5)
    assert ours == pytest.approx(rdp_epsilon([one], group_size=1, delta=1e-5), rel=0.02)


def test_meaningless_noise_is_still_priced():
    spent = account([event(steps=1000, noise_multiplier=0.1)], delta=1e-5)
    assert 1e3 < spent.epsilon < spent.epsilon_rdp < math.inf


def test_a_group_with_next_to_no_noise_is_refused_before_it_fills_the_memory():
    with pytest.raises(ConfigError, match="noise_multiplier is 1e-06; a group of 3 scans cannot be priced"):
        account([event(noise_multiplier=1e-6, scans_per_patient=3)], delta=1e-5, unit="patient")


def test_words_say_who_is_protected():
    settings = {"epsilon": 3.14159, "epsilon_rdp": 3.5, "delta": 1e-5, "clients": ("",), "steps": 100}
    words = PrivacySpent(unit="patient", group_size=4, **settings).in_words()
    for part in ("(3.14, 1e-05)", "any one patient", "up to 4 scans", "100 private steps", "RDP gives 3.5"):
        assert part in words
    assert "several scans is protected less" in PrivacySpent(unit="scan", group_size=1, **settings).in_words()
    assert "any one site" in PrivacySpent(unit="site", group_size=1, **settings).in_words()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"events": []}, "DP events are missing"),
        ({"delta": 0.0}, "delta is 0.0"),
        ({"delta": 1 / 300}, "delta is 0.0033"),
        ({"delta": 0.1}, r"below 1/n = 0\.00333 for n = 300"),
        ({"unit": "site"}, "unit is 'site', but training clipped each scan"),
        ({"events": [event(unit="patient")], "unit": "scan"}, "unit is 'scan', but training clipped each patient"),
        ({"events": [event(unit="site")], "unit": "patient"}, "unit is 'patient', but training clipped each site"),
        ({"events": [event(), event(unit="site")]}, "units scan, site"),
    ],
)
def test_what_cannot_be_priced_is_refused_not_guessed(arguments, message):
    defaults = {"events": [event(population=300)], "delta": 1e-5}
    with pytest.raises(ConfigError, match=message):
        account(**(defaults | arguments))


def test_calibration_meets_the_target_and_wastes_little():
    """dp-accounting's example for one step, where the target is epsilon 1."""
    settings = {"steps": 1, "sampling_rate": 0.01, "population": 1000}
    noise = calibrate_noise_multiplier(1.0, delta=1e-5, **settings)
    assert noise == pytest.approx(0.67379294682, rel=2e-3)
    assert 0.99 < account([event(noise_multiplier=noise, **settings)], delta=1e-5).epsilon <= 1.0


def test_calibration_for_patients_of_two_scans_takes_twice_the_noise_without_sampling():
    settings = {"delta": 1e-4, "steps": 1, "sampling_rate": 1.0, "population": 100}
    two, one = (calibrate_noise_multiplier(2.0, group_size=size, **settings) for size in (2, 1))
    assert two == pytest.approx(2.0 * one, rel=3e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 0.0}, "epsilon is 0.0"),
        ({"epsilon": -1.0}, "epsilon is -1.0"),
        ({"delta": 0.01}, "delta is 0.01"),
        ({"steps": 0}, "steps is 0"),
        ({"group_size": 0}, "group_size is 0"),
        ({"sampling_rate": 1.5}, "sampling_rate is 1.5"),
    ],
)
def test_targets_that_make_no_sense_are_refused(change, message):
    arguments = {"epsilon": 1.0, "delta": 1e-5, "steps": 10, "sampling_rate": 0.1, "population": 100} | change
    with pytest.raises(ConfigError, match=message):
        calibrate_noise_multiplier(arguments.pop("epsilon"), **arguments)


def test_a_target_out_of_reach_is_refused():
    with pytest.raises(ConfigError, match="no noise_multiplier up to 1e\\+06 meets it"):
        calibrate_noise_multiplier(1e-9, delta=1e-12, steps=10**6, sampling_rate=1.0, population=100)
