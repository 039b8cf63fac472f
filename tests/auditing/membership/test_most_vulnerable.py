"""The most vulnerable scans by themselves: chosen without the target, and not by what it answers."""

import numpy as np

from flprivacy import audit_membership
from flprivacy.auditing.config import MembershipAudit, MembershipRule
from flprivacy.auditing.membership.targets import VULNERABLE, audit_targets
from flprivacy.core.membership_scores import MembershipScores
from tests.auditing.membership.test_membership_of_targets import table

MEMBERS = np.arange(1000) < 600
BY_AUC = MembershipRule(metric="auc")


def looked_at(seed, *, gain):
    """Scores in which training shows on the tenth of the scans that are the most vulnerable, and on no other."""
    rng = np.random.default_rng(seed)
    known = rng.normal(size=1000)
    scores = rng.normal(size=1000) + gain * (MEMBERS & (known > np.quantile(known, 0.9)))
    return audit_membership(MEMBERS, scores, vulnerability=known).attacks[0]


def test_a_leak_of_the_few_is_seen_where_it_is():
    found = looked_at(0, gain=3.0)
    assert found.auc.value < 0.6
    assert found.vulnerable.n_members + found.vulnerable.n_non_members == 100
    assert found.vulnerable.auc.low > 0.9
    assert found.vulnerable.rate.tpr_low > found.vulnerable.rate.chance


def test_of_a_harmless_target_the_interval_covers_chance_as_often_as_claimed():
    """Although the scores lean on the same references that say who is vulnerable: both kinds are chosen alike."""
    areas = []
    for seed in range(300):
        rng = np.random.default_rng([7, seed])
        without = rng.normal(size=1000)
        scores = rng.normal(size=1000) - without
        areas.append(audit_membership(MEMBERS, scores, vulnerability=-without).attacks[0].vulnerable.auc)
    covered = np.mean([one.low <= 0.5 <= one.high for one in areas])
    print(f"covered {covered:.3f}")
    assert 0.92 <= covered <= 0.985


def test_with_few_held_out_scans_a_larger_share_is_looked_at():
    members = np.arange(100) < 60
    rng = np.random.default_rng(0)
    scores, known = rng.normal(size=(2, 100))
    result = audit_membership(members, scores, vulnerability=known, config=MembershipAudit(rule=BY_AUC))
    vulnerable = result.attacks[0].vulnerable
    assert vulnerable.n_members + vulnerable.n_non_members == 50
    assert vulnerable.rate.fpr == 1.0 / vulnerable.n_non_members


def test_nobody_said_who_is_vulnerable():
    result = audit_membership(MEMBERS, np.random.default_rng(0).normal(size=1000))
    assert result.attacks[0].vulnerable is None
    assert result.most_vulnerable == ()


def test_the_most_vulnerable_are_named_apart_and_nowhere_else(tmp_path):
    known = table("central", gain=1.0)
    known = MembershipScores(**vars(known) | {"vulnerability": -(np.arange(1200.0) % 600.0)})
    known.write(tmp_path / "table.parquet")
    again = MembershipScores.read(tmp_path / "table.parquet")
    np.testing.assert_array_equal(again.vulnerability, known.vulnerability)
    found, exposed = audit_targets([again], {}, rule=BY_AUC, confidence=0.95)
    assert [one.name for one in exposed["central"]["scan"][VULNERABLE]][:3] == ["scan-0", "scan-1", "scan-2"]
    assert all(attack.vulnerable is not None for one in found for attack in one.attacks)
    assert "scan-0" not in str(found)
