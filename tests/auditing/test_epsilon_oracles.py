"""Known answers of the epsilon lower bounds, naive references for their formulas, and bad input."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from flprivacy.auditing.epsilon import independent
from flprivacy.auditing.epsilon.bound import METHODS, epsilon_bound
from flprivacy.auditing.epsilon.f_dp import contradicts, gaussian_curve, gaussian_epsilon, one_run_mu
from flprivacy.auditing.epsilon.independent import proven_epsilon, proven_mu
from flprivacy.auditing.epsilon.one_run import (
    guess,
    guess_numbers,
    one_run_epsilon,
    one_run_p_value,
    rank,
)
from flprivacy.core.errors import AuditError

DELTA = 1e-5


@pytest.mark.parametrize(("confidence", "expected"), [(0.95, 3.479), (0.99, 3.023)])
def test_all_of_100_guesses_right_at_500_canaries(confidence, expected):
    epsilon = one_run_epsilon(500, 100, 100, delta=DELTA, confidence=confidence)
    assert epsilon == pytest.approx(expected, abs=5e-4)


def test_perfect_guesses_without_delta_have_a_closed_form():
    # All r right has probability q^r, so the bound is logit(error^(1/r)).
    q = 0.05 ** (1 / 100)
    assert one_run_epsilon(500, 100, 100, delta=0.0) == pytest.approx(math.log(q / (1 - q)), abs=1e-6)


def one_run_p_value_naive(m, r, v, epsilon, delta):
    """Theorem 3.1 summed term by term."""
    q = math.exp(epsilon) / (1 + math.exp(epsilon))
    pmf = [math.comb(r, i) * q**i * (1 - q) ** (r - i) for i in range(r + 1)]
    slope = max((sum(pmf[v - i : v]) / i for i in range(1, v + 1)), default=0.0)
    return min(1.0, sum(pmf[v:]) + 2 * m * delta * slope)


@pytest.mark.parametrize("counts", [(30, 20, 15), (30, 30, 30), (50, 40, 21), (10, 5, 0)])
@pytest.mark.parametrize("epsilon", [0.0, 0.7, 3.0])
@pytest.mark.parametrize("delta", [0.0, 1e-3])
def test_one_run_p_value_is_the_theorem(counts, epsilon, delta):
    value = one_run_p_value(*counts, epsilon=epsilon, delta=delta)
    assert value == pytest.approx(one_run_p_value_naive(*counts, epsilon, delta), rel=1e-9)


def contradicts_naive(curve, m, guesses, correct, error):
    """The recursion of arXiv:2410.22235 with scalars and without shortcuts."""
    r, h = error * correct / m, error * (guesses - correct) / m
    for i in range(correct - 1, -1, -1):
        grown = max(h, float(curve(np.float64(r))))
        r = min(1.0, r + i / (guesses - i) * (grown - h))
        h = grown
    return r + h > guesses / m


@pytest.mark.parametrize("counts", [(100, 40, 33), (100, 100, 70), (60, 20, 20), (60, 20, 10)])
def test_f_dp_recursion_is_the_naive_one(counts):
    mus = np.linspace(0.0, 3.0, 25)
    for error in (0.05, 0.3):
        together = contradicts(gaussian_curve(mus), *counts, error=error)
        alone = [contradicts_naive(gaussian_curve(mu), *counts, error) for mu in mus]
        assert together.tolist() == alone


def test_the_proven_mu_is_where_the_contradiction_ends():
    mu = one_run_mu(100, 40, 36)
    assert mu > 0.0
    assert contradicts(gaussian_curve(mu), 100, 40, 36, error=0.05)
    assert not contradicts(gaussian_curve(mu + 1e-2), 100, 40, 36, error=0.05)


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_f_dp_is_exact_for_randomised_response(epsilon):
    """With delta 0 and every canary guessed, the worst case is a binomial: the recursion may not undercut its tail."""

    def pure_curve(tpr: np.ndarray) -> np.ndarray:
        return np.maximum(tpr * math.exp(-epsilon), 1.0 - math.exp(epsilon) * (1.0 - tpr))

    m, q = 200, math.exp(epsilon) / (1 + math.exp(epsilon))
    for correct in (int(m * q), int(m * q) + 10, int(m * q) + 18):
        tail = stats.binom.sf(correct - 1, m, q)
        assert not contradicts(pure_curve, m, m, correct, error=0.999 * tail)


def test_f_dp_beats_the_pair_of_numbers():
    """The refinement's point: the Gaussian curve gives more than its (epsilon, delta) does."""
    mu = one_run_mu(1000, 125, 108)
    assert gaussian_epsilon(mu, DELTA) > one_run_epsilon(1000, 125, 108, delta=DELTA) + 0.5


@pytest.mark.parametrize(("mu", "delta"), [(0.5, 1e-5), (1.0, 0.126936), (3.0, 1e-9)])
def test_gaussian_epsilon_by_integration(mu, delta):
    epsilon = gaussian_epsilon(mu, delta)
    # The hockey-stick divergence: integral of (p - e^epsilon q)+ where the log ratio mu x - mu^2/2 is above epsilon.
    start = epsilon / mu + mu / 2
    above = integrate.quad(
        lambda x: stats.norm.pdf(x, mu) - math.exp(epsilon) * stats.norm.pdf(x), start, start + 12, epsabs=1e-16
    )[0]
    assert above == pytest.approx(delta, rel=1e-4)


def test_gaussian_epsilon_of_dp_accountings_example():
    # dp_accounting's pld_privacy_accountant_test: mu = 1 is (1, 0.126936)-DP.
    assert gaussian_epsilon(1.0, 0.126936) == pytest.approx(1.0, abs=1e-4)


def test_curves_touch_where_they_should():
    tpr = np.linspace(0.01, 0.99, 99)
    assert gaussian_curve(0.0)(tpr) == pytest.approx(tpr)
    assert gaussian_curve(1.0)(np.float64(0.5)) == pytest.approx(stats.norm.cdf(-1.0))


def test_proven_epsilon_and_mu_invert_the_mechanisms():
    assert proven_epsilon(0.1, 0.2, 0.0) == pytest.approx(math.log(8))
    assert proven_epsilon(0.6, 0.6, 0.0) == 0.0
    assert proven_epsilon(0.0, 0.5, 0.0) == math.inf
    assert proven_mu(stats.norm.sf(1.3), stats.norm.cdf(1.3 - 2.0)) == pytest.approx(2.0)
    assert proven_mu(1.0, 0.1) == 0.0


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (9, 10), (10, 10)])
def test_limits_are_clopper_and_pearsons(k, n):
    upper = independent.upper_limit(k, n, 0.05)
    if k < n:
        assert stats.binom.cdf(k, n, upper) == pytest.approx(0.05)
    if k == n:
        assert upper == 1.0


def test_tested_ranks_and_guess_numbers_do_not_depend_on_scores():
    assert independent.ranks(500) == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert guess_numbers(1000) == [1000, 500, 250, 125, 62, 31, 15]
    assert guess_numbers(3) == [3]


def test_equal_scores_are_not_ordered_by_membership():
    ones = np.ones(400)
    correct = [guess(rank(ones, ones, np.random.default_rng(seed)), 100).correct for seed in range(50)]
    assert 45 < np.mean(correct) < 55


def test_thresholds_separate_what_they_say():
    members, non_members = np.array([2.0, 3.0, 4.0, 5.0]), np.array([0.0, 1.0, 2.5, 2.5])
    seen = {(r.threshold, r.counts) for r in independent.all_rates(members, non_members, error=0.1)}
    # Above the highest non-member, which is tied: three members, no non-member.
    assert (2.5, independent.Counts(3, 4, 0, 1)) in seen
    # Just below the lowest member: all members, and the two tied non-members.
    assert any(c == independent.Counts(4, 2, 2, 0) and t < 2.0 for t, c in seen)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("correction", ["bonferroni", "split"])
def test_null_and_leak(method, correction):
    """Scores that know nothing prove nothing; scores that know all prove much."""
    rng = np.random.default_rng(3)
    null = epsilon_bound(method, rng.normal(size=200), rng.normal(size=200), delta=DELTA, correction=correction)
    assert null.epsilon_lower < 0.3
    leak = epsilon_bound(method, rng.normal(9.0, size=200), rng.normal(size=200), delta=DELTA, correction=correction)
    assert leak.epsilon_lower > 3.0
    assert leak.counts
    assert leak == epsilon_bound(method, *_same_leak(), delta=DELTA, correction=correction)


def _same_leak():
    rng = np.random.default_rng(3)
    rng.normal(size=400)
    return rng.normal(9.0, size=200), rng.normal(size=200)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": []}, "member scores have shape"),
        ({"non_members": [[0.0]]}, "non-member scores have shape"),
        ({"members": [math.nan, 0.0]}, "not finite"),
        ({"confidence": 95}, "confidence is 95"),
        ({"delta": 1.0}, "delta is 1.0"),
        ({"delta": -0.1}, "delta is -0.1"),
        ({"correction": "none"}, "correction is 'none'"),
    ],
)
def test_bad_input_is_named(method, change, message):
    arguments = {"members": [0.0, 1.0], "non_members": [0.0, 1.0], "delta": DELTA} | change
    with pytest.raises(AuditError, match=message):
        epsilon_bound(method, arguments.pop("members"), arguments.pop("non_members"), **arguments)


def test_other_bad_input_is_named():
    with pytest.raises(AuditError, match="11 correct of 10 guesses"):
        one_run_epsilon(20, 10, 11, delta=DELTA)
    with pytest.raises(AuditError, match="delta 0"):
        gaussian_epsilon(1.0, 0)
