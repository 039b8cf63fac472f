"""A model that remembers nobody is hardly ever called a leak; one that remembers is; and DP's bound is kept.

Seeds are fixed, bounds are not tuned to them.
"""

import numpy as np
import pytest

from flprivacy.auditing.config import MembershipAudit, MembershipRule
from flprivacy.auditing.epsilon.f_dp import gaussian_epsilon
from flprivacy.auditing.membership.audit import audit_membership

SIMULATIONS = 500


def study(seed, *, patients=(120, 150), remembered=0.0, gain=0.0):
    """Return members, patients and scores of three attacks, which err on the same patients.

    Of the members a share ``remembered`` scores higher by ``gain``.
    """
    rng = np.random.default_rng([seed])
    of_patient = np.repeat(np.arange(sum(patients)), 1 + (rng.random(sum(patients)) < 0.3))
    members = of_patient < patients[0]
    boost = gain * (members & (rng.random(len(members)) < remembered))
    shared = rng.standard_t(4, sum(patients))[of_patient] + boost
    scores = {name: shared + rng.normal(size=len(members)) for name in ("loss", "lira", "rmia")}
    return members, of_patient, scores


def audit(seed, rule, **options):
    members, patients, scores = study(seed, **options)
    return audit_membership(members, scores, patients=patients, config=MembershipAudit(rule=rule, fprs=()))


@pytest.mark.parametrize("metric", ["tpr_at_fpr_0.01", "auc"])
def test_null(metric):
    covered, leaks = 0, 0
    for seed in range(SIMULATIONS):
        found = audit(seed, MembershipRule(metric=metric, threshold=0.0))
        leaks += found.verdict == "leak"
        area = found.attacks[0].auc
        covered += area.low <= 0.5 <= area.high
    print(f"{metric}: {covered} of {SIMULATIONS} intervals of the AUC cover .5, {leaks} verdicts are leak")
    assert 0.92 * SIMULATIONS <= covered <= 0.98 * SIMULATIONS
    assert leaks <= 0.05 * SIMULATIONS


def test_a_few_remembered_patients_are_found_where_the_auc_hardly_sees_them():
    for seed in range(5):
        found = audit(seed, MembershipRule(), patients=(300, 300), remembered=0.25, gain=20.0)
        assert found.verdict == "leak"
        assert found.decision.excess == pytest.approx(0.25, abs=0.08)
        assert found.attacks[0].auc.value < 0.7


def test_nothing_is_cleared_by_a_handful_of_patients_and_thousands_can_clear():
    rule = MembershipRule(threshold=0.02)
    assert audit(0, rule, patients=(60, 110)).verdict == "inconclusive"
    assert audit(0, rule, patients=(6000, 6000)).verdict == "no leak found"


@pytest.mark.parametrize("mu", [0.5, 2.0])
def test_a_gaussian_mechanism_keeps_the_bound_of_its_epsilon(mu):
    """Members are released with noise: TPR <= e^epsilon FPR + delta, and no bound is above the true epsilon."""
    delta, above, beyond = 1e-3, 0, 0
    epsilon = gaussian_epsilon(mu, delta)
    for seed in range(200):
        rng = np.random.default_rng([seed, 7])
        scores = np.concatenate([rng.normal(mu, size=300), rng.normal(size=300)])
        found = audit_membership(np.arange(600) < 300, scores, delta=delta, claimed_epsilon=epsilon)
        (rate,) = found.attacks[0].rates
        above += rate.tpr_low > np.exp(epsilon) * rate.fpr_high + delta
        beyond += found.epsilon.epsilon_lower > epsilon
    print(f"mu {mu}: of 200 audits {above} break the bound, {beyond} prove more than epsilon {epsilon:.2f}")
    assert above <= 10
    assert beyond <= 10


def test_a_broken_promise_is_contradicted():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(4.0, size=1000), rng.normal(size=1000)])
    found = audit_membership(np.arange(2000) < 1000, scores, claimed_epsilon=1.0)
    assert found.epsilon.verdict == "claim contradicted"
