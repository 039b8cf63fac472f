"""Target and generator together: a leak of either is found, and a generator that tells nothing costs nothing."""

from dataclasses import replace

import numpy as np
import pytest

from flprivacy.attacks.membership.combined import attack_with_generator, combined_scores
from flprivacy.auditing.config import MembershipRule
from flprivacy.auditing.membership.rates import Sample, auc
from flprivacy.auditing.membership.targets import audit_targets
from flprivacy.core.errors import AttackError
from flprivacy.core.membership import TARGET_AND_GENERATOR
from flprivacy.core.membership_scores import LINEAGE, MembershipScores

PATIENTS = np.arange(600).astype(np.str_)
MEMBERS = np.arange(600) < 400


def drawn(seed, gain):
    return np.random.default_rng([seed, int(10 * gain)]).normal(size=600) + gain * MEMBERS


def area(scores):
    where = np.arange(600)
    sample = Sample(
        members=scores[MEMBERS], non_members=scores[~MEMBERS],
        member_patients=where[MEMBERS], non_member_patients=where[~MEMBERS],
    )  # fmt: skip
    return auc(sample, confidence=0.95)


def table(target, **scores):
    return MembershipScores(
        target=target, target_digest="d", role="target", members_from=LINEAGE, scan_ids=PATIENTS, patient_ids=PATIENTS,
        sites=np.repeat("a", 600), classes=np.repeat("a", 600), models=np.repeat("m", 600), members=MEMBERS,
        signals=np.zeros(600), scores=scores,
    )  # fmt: skip


def test_a_generator_that_copies_members_is_found_though_the_target_is_silent():
    own, copier = table("federated", population=drawn(1, 0.0)), table("generator", calibrated=drawn(2, 3.0))
    both = attack_with_generator(own, copier, "calibrated")
    assert list(both.scores) == ["population", TARGET_AND_GENERATOR]
    rule = MembershipRule(metric="auc")
    assert [audit_targets([one], {}, rule=rule, confidence=0.95)[0][0].verdict == "leak" for one in (own, both)] == [
        False,
        True,
    ]
    assert area(both.scores[TARGET_AND_GENERATOR]).value > 0.97


def test_two_weak_signals_are_more_than_either():
    target, generator = drawn(1, 0.7), drawn(2, 0.8)
    alone = max(area(target).value, area(generator).value)
    assert area(combined_scores([target, generator], MEMBERS, PATIENTS)).value > alone + 0.03


def test_a_silent_generator_costs_at_most_a_hundredth_of_the_auc():
    lost = [
        area(target).value - area(combined_scores([target, drawn(seed + 1000, 0.0)], MEMBERS, PATIENTS)).value
        for seed in range(1, 101)
        for target in [drawn(seed, 0.5)]
    ]
    print(f"mean loss {np.mean(lost):.4f}")
    assert np.mean(lost) < 0.01


def test_where_nothing_leaks_half_is_covered_as_often_as_claimed():
    found = [
        area(combined_scores([drawn(2 * seed, 0.0), drawn(2 * seed + 1, 0.0)], MEMBERS, PATIENTS))
        for seed in range(300)
    ]
    covered = np.mean([one.low <= 0.5 <= one.high for one in found])
    print(f"covered {covered:.3f}, mean {np.mean([one.value for one in found]):.4f}")
    assert 0.92 <= covered <= 0.98
    assert abs(np.mean([one.value for one in found]) - 0.5) < 0.005


def test_whether_a_patient_was_trained_on_weighs_nothing_in_the_own_half():
    """Else the score would know the answer."""
    signals = [drawn(1, 0.5), drawn(2, 0.5)]
    before = combined_scores(signals, MEMBERS, PATIENTS)
    for row in (0, 599):
        other = MEMBERS.copy()
        other[row] = ~other[row]
        assert combined_scores(signals, other, PATIENTS)[row] == before[row]


def test_what_does_not_fit_is_refused():
    own, other = table("federated", population=drawn(1, 0.0)), table("generator", calibrated=drawn(2, 0.0))
    other = replace(other, scan_ids=np.where(PATIENTS.astype(int) < 400, PATIENTS, "stranger"))
    with pytest.raises(AttackError, match="200 of its scans are not among"):
        attack_with_generator(own, other, "calibrated")
    with pytest.raises(AttackError, match="too few to weigh"):
        combined_scores([np.zeros(3)], np.array([True, True, False]), np.array(["a", "b", "c"]))
