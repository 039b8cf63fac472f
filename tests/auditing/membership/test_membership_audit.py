"""What an audit of membership reports, and what it refuses."""

import numpy as np
import pytest

from flprivacy.auditing.config import MembershipAudit, MembershipRule
from flprivacy.auditing.membership.audit import audit_membership
from flprivacy.core.errors import AuditError, ConfigError

RNG = np.random.default_rng(0)
PATIENTS = np.repeat(np.arange(400), 1 + (np.arange(400) % 2))
MEMBERS = PATIENTS % 2 == (PATIENTS // 2) % 2
SITES = np.where(PATIENTS < 40, "small", "large")
SCORES = RNG.normal(size=len(PATIENTS)) + np.where(SITES == "small", 4.0, 0.5) * MEMBERS
NAMES = np.array([f"scan-{i:03d}" for i in range(len(PATIENTS))])


def audit(**changes):
    arguments = {"patients": PATIENTS, "groups": {"site": SITES}, "names": NAMES} | changes
    return audit_membership(arguments.pop("members", MEMBERS), arguments.pop("scores", SCORES), **arguments)


def test_the_patients_of_a_small_hospital_are_seen_to_be_more_exposed():
    exposed = {group.group: group for group in audit().attacks[0].groups}
    assert exposed["small"].tpr_low > exposed["large"].tpr_high
    assert exposed["small"].auc.low > exposed["large"].auc.high
    assert sum(group.n_members for group in exposed.values()) == MEMBERS.sum()


def test_the_most_exposed_are_named_by_pseudonym_the_surest_first():
    named = audit(config=MembershipAudit(most_exposed=5)).attacks[0].most_exposed
    order = [i for i in np.argsort(-SCORES) if MEMBERS[i]][:5]
    assert [one.name for one in named] == NAMES[order].tolist()
    assert [one.non_members_as_high for one in named] == [int((SCORES[~MEMBERS] >= SCORES[i]).sum()) for i in order]


def test_at_level_patient_the_mean_over_a_patients_scans_counts():
    found = audit(level="patient", config=MembershipAudit(most_exposed=1))
    assert (found.n_members, found.n_non_members) == (200, 200)
    means = {patient: SCORES[patient == PATIENTS].mean() for patient in range(400)}
    best = max((p for p in range(400) if MEMBERS[p == PATIENTS][0]), key=means.get)
    (named,) = found.attacks[0].most_exposed
    assert (named.name, named.score) == (str(best), pytest.approx(means[best]))


def test_the_order_of_scans_their_scale_and_names_of_patients_are_of_no_account():
    order = np.random.default_rng(1).permutation(len(PATIENTS))
    moved = audit(
        members=MEMBERS[order],
        scores=np.exp(SCORES[order] / 10.0),
        patients=[f"p{p}" for p in PATIENTS[order]],
        groups={"site": SITES[order]},
        names=NAMES[order],
    )
    found = audit()
    numbers = ("value", "chance", "excess", "excess_low", "excess_high", "p_leak")
    assert moved.verdict == found.verdict
    assert [getattr(moved.decision, n) for n in numbers] == pytest.approx([getattr(found.decision, n) for n in numbers])
    assert moved.epsilon.epsilon_lower == pytest.approx(found.epsilon.epsilon_lower)


def test_the_attackers_own_threshold_gives_a_balanced_accuracy():
    (attack,) = audit(scores={"lira": SCORES}, own_thresholds={"lira": 1.0}).attacks
    expected = (np.mean(SCORES[MEMBERS] > 1.0) + np.mean(SCORES[~MEMBERS] <= 1.0)) / 2.0
    assert attack.balanced_accuracy.value == pytest.approx(expected)
    assert audit().attacks[0].balanced_accuracy is None


def test_rates_that_cannot_be_resolved_are_left_out_and_said():
    found = audit()
    assert [rate.fpr for rate in found.attacks[0].rates] == [0.01]
    assert found.caveats[0].startswith(f"with {(~MEMBERS).sum()} non-members a false positive rate of 0.001 is below")


def test_more_attacks_make_the_same_p_value_prove_less():
    noise = {f"noise {i}": RNG.normal(size=len(PATIENTS)) for i in range(4)}
    alone, among = audit(scores={"lira": SCORES}), audit(scores={"lira": SCORES} | noise)
    assert among.decision.p_leak == alone.decision.p_leak
    assert among.decision.p_adjusted == pytest.approx(5 * 2 * alone.decision.p_leak)  # a rate and an AUC each
    assert among.epsilon.epsilon_lower < alone.epsilon.epsilon_lower


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"members": MEMBERS | True}, "0 patient.* non-members"),
        ({"members": MEMBERS & False}, "0 patient.* are members"),
        ({"members": MEMBERS.astype(int)}, "bool"),
        ({"members": np.arange(len(PATIENTS)) % 2 == 0}, "among members and non-members"),
        ({"scores": SCORES[1:]}, r"must be \(600,\)"),
        ({"scores": {}}, "at least one attack"),
        ({"scores": {"lira": SCORES * np.nan}}, "'lira' hold values that are not finite"),
        ({"patients": PATIENTS[1:]}, "patients have shape"),
        ({"own_thresholds": {"rmia": 0.0}}, "'rmia'"),
        ({"level": "patient", "groups": {"class": np.arange(len(PATIENTS))}}, "differ between scans of a patient"),
        ({"config": MembershipAudit(rule=MembershipRule(metric="tpr_at_fpr_0.001"))}, "at least 1000 are needed"),
    ],
)
def test_what_proves_nothing_is_refused(changes, message):
    with pytest.raises(AuditError, match=message):
        audit(**changes)


@pytest.mark.parametrize("metric", ["tpr", "tpr_at_fpr_", "tpr_at_fpr_1%", "tpr_at_fpr_2", "accuracy"])
def test_a_rule_for_no_metric_is_refused(metric):
    with pytest.raises(ConfigError, match=r"tpr_at_fpr_0\.01"):
        MembershipRule(metric=metric)


def test_other_options_out_of_range_are_refused():
    for build in (
        lambda: MembershipRule(threshold=1.0),
        lambda: MembershipAudit(fprs=(0.0,)),
        lambda: MembershipAudit(confidence=95),
        lambda: MembershipAudit(most_exposed=-1),
        lambda: audit(level="site"),
    ):
        with pytest.raises(ConfigError):
            build()
