"""Rates and areas against closed forms, naive loops and known distributions."""

import numpy as np
import pytest
from scipy.stats import beta, binomtest, norm

from flprivacy.auditing.membership.rates import (
    Sample,
    allowed,
    auc,
    balanced_accuracy,
    effective,
    limits,
    p_above,
    rate_at,
    resolvable_fpr,
    resolves,
    roc,
)


def sample(members, non_members, member_patients=None, non_member_patients=None):
    ins, outs = np.asarray(members, float), np.asarray(non_members, float)
    first = np.arange(len(ins)) if member_patients is None else np.asarray(member_patients)
    second = np.arange(len(outs)) + 10**4 if non_member_patients is None else np.asarray(non_member_patients) + 10**4
    return Sample(members=ins, non_members=outs, member_patients=first, non_member_patients=second)


def normals(distance, *, n=20_000, seed=0):
    rng = np.random.default_rng(seed)
    return sample(rng.normal(distance, size=n), rng.normal(size=n))


@pytest.mark.parametrize("distance", [0.0, 1.0, 2.5])
def test_rates_and_areas_of_two_normal_distributions_are_those_of_the_closed_form(distance):
    drawn = normals(distance)
    assert auc(drawn, confidence=0.95).value == pytest.approx(norm.cdf(distance / np.sqrt(2.0)), abs=0.01)
    for fpr, tolerance in ((0.01, 0.04), (0.001, 0.07)):
        found = rate_at(drawn, fpr, confidence=0.95)
        assert found.realised_fpr == pytest.approx(fpr)
        assert found.tpr == pytest.approx(norm.cdf(distance - norm.isf(fpr)), abs=tolerance)
    of_half = balanced_accuracy(drawn, distance / 2.0, confidence=0.95)
    assert of_half.value == pytest.approx(norm.cdf(distance / 2.0), abs=0.01)


def test_rates_and_areas_agree_with_naive_loops():
    rng = np.random.default_rng(1)
    drawn = sample(rng.integers(0, 30, 57), rng.integers(0, 25, 101))
    pairs = [(m > n) + (m == n) / 2.0 for m in drawn.members for n in drawn.non_members]
    assert auc(drawn, confidence=0.95).value == pytest.approx(sum(pairs) / len(pairs))
    for fpr in (0.01, 0.05, 0.3):
        best = 0.0
        for threshold in drawn.non_members:
            if sum(n > threshold for n in drawn.non_members) <= fpr * 101:
                best = max(best, sum(m > threshold for m in drawn.members) / 57)
        found = rate_at(drawn, fpr, confidence=0.95)
        assert found.tpr == pytest.approx(best)
        assert found.realised_fpr <= fpr
    curve = roc(drawn, confidence=0.95)
    for fpr, tpr in zip(curve.fpr, curve.tpr, strict=True):
        assert any(
            fpr == pytest.approx(np.mean(drawn.non_members > t)) and tpr == pytest.approx(np.mean(drawn.members > t))
            for t in drawn.non_members
        )


@pytest.mark.parametrize(("successes", "n"), [(0, 40), (3, 40), (40, 40)])
def test_limits_are_those_of_clopper_and_pearson(successes, n):
    exact = binomtest(successes, n).proportion_ci(confidence_level=0.95, method="exact")
    assert limits(successes, n, 0.025) == pytest.approx((exact.low, exact.high))


def test_the_upper_limit_of_the_false_positive_rate_is_that_of_an_order_statistic():
    found = rate_at(normals(0.0, n=300), 0.01, confidence=0.95)
    assert (found.false_positives, found.chance) == (3, pytest.approx(4 / 301))
    assert found.fpr_high == pytest.approx(beta(4, 297).ppf(0.975))


def test_chance_is_what_members_that_are_no_different_get():
    rng, rates = np.random.default_rng(2), []
    for _ in range(4000):
        rates.append(rate_at(sample(rng.normal(size=20), rng.normal(size=100)), 0.01, confidence=0.95).tpr)
    assert np.mean(rates) == pytest.approx(2 / 101, abs=0.002)


def test_what_so_many_non_members_resolve():
    assert (allowed(0.01, 300), allowed(0.01, 299), allowed(0.001, 1000)) == (3, 2, 1)
    assert (resolves(0.01, 100), resolves(0.01, 99)) == (True, False)
    assert resolvable_fpr(100) == pytest.approx(0.0295, abs=1e-4)
    assert resolvable_fpr(1000) == pytest.approx(0.003, abs=1e-4)


def test_scans_of_a_patient_count_once_if_they_are_copies():
    rng = np.random.default_rng(3)
    once = sample(rng.normal(1.0, size=60), rng.normal(size=150))
    of_patient = np.repeat(np.arange(60), 4), np.repeat(np.arange(150), 4)
    copies = sample(np.repeat(once.members, 4), np.repeat(once.non_members, 4), *of_patient)
    assert effective(copies.member_patients) == pytest.approx(60)
    for found, expected in (
        (auc(copies, confidence=0.95), auc(once, confidence=0.95)),
        (rate_at(copies, 0.02, confidence=0.95), rate_at(once, 0.02, confidence=0.95)),
    ):
        values, wanted = vars(found), vars(expected)
        same = [name for name in values if name not in ("false_positives", "chance", "excess")]
        assert [values[name] for name in same] == pytest.approx([wanted[name] for name in same])


def test_the_p_value_is_the_error_at_which_the_excess_is_shown():
    drawn = normals(1.0, n=400)
    found = rate_at(drawn, 0.05, confidence=0.95)
    for tolerated, shown in ((found.excess_low + 1e-6, False), (found.excess_low - 1e-3, True)):
        assert (p_above(drawn, 0.05, tolerated) < 0.025) == shown
    assert p_above(drawn, 0.05, 0.9) == 1.0


def test_an_auc_of_one_is_not_certain():
    found = auc(sample(np.arange(20) + 100.0, np.arange(20)), confidence=0.95)
    assert found.value == 1.0
    assert 0.8 < found.low < 0.99
