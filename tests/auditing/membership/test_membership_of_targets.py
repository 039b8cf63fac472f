"""The members of all targets of a study: verdicts that hold together, and what is said where there is none."""

import numpy as np
import pytest

from flprivacy.auditing.config import MembershipRule
from flprivacy.auditing.membership.targets import Claim, audit_targets
from flprivacy.core.membership_scores import MembershipScores


def table(name, *, gain=0.0, patients=(300, 300), seed=0, **facts):
    """Two scans a patient; members score higher by ``gain``."""
    rng = np.random.default_rng([seed])
    of_patient = np.repeat(np.arange(sum(patients)), 2)
    members = of_patient < patients[0]
    signals = rng.normal(size=sum(patients))[of_patient] + 0.3 * rng.normal(size=len(members)) + gain * members
    names = of_patient.astype(np.str_)
    return MembershipScores(
        **{"target": name, "target_digest": "", "role": "target", "members_from": "lineage"} | facts,
        scan_ids=np.array([f"scan-{i}" for i in range(len(members))]),
        patient_ids=names,
        sites=np.where(of_patient % 3 == 0, "north", "south"),
        classes=np.where(of_patient % 2 == 0, "normal", "covid"),
        models=np.full(len(members), "model"),
        members=members,
        signals=signals,
        scores={"loss": signals, "population": signals + rng.normal(size=len(members))},
    )


def audit(*tables, claims=None, rule=MembershipRule()):  # noqa: B008 - frozen
    return audit_targets(tables, claims or {}, rule=rule, confidence=0.95)


def test_a_target_that_remembers_is_called_and_one_that_does_not_is_not():
    found, exposed = audit(table("federated", seed=1), table("central", gain=4.0))
    verdicts = {(f.target, f.level): f.verdict for f in found}
    assert verdicts["central", "scan"] == verdicts["central", "patient"] == "leak"
    assert verdicts["federated", "scan"] == verdicts["federated", "patient"] == "inconclusive"
    assert list(exposed) == ["central", "federated"]


def test_names_of_the_most_exposed_are_kept_apart():
    (finding, _), exposed = audit(table("central", gain=4.0))
    assert all(not attack.most_exposed for attack in finding.attacks)
    first, *others = exposed["central"]["scan"]["loss"]
    assert first.name.startswith("scan-")
    assert len(others) == 9
    assert all(first.score >= one.score for one in others)


def test_the_more_targets_the_more_a_leak_must_show():
    others = (table(f"other-{i}", seed=i + 1) for i in range(4))
    alone, among = (
        [f.decision for f in audit(table("central", gain=1.7), *more)[0] if f.target == "central"]
        for more in ((), others)
    )
    assert [one.p_leak for one in among] == [one.p_leak for one in alone]
    assert min(one.p_adjusted for one in among) == pytest.approx(5 * min(one.p_adjusted for one in alone), rel=0.01)


def test_a_family_of_harmless_targets_has_a_leak_in_at_most_5_percent_of_audits():
    leaks = 0
    for seed in range(100):
        tables = [table(f"t{i}", seed=10 * seed + i, patients=(60, 110)) for i in range(3)]
        found, _ = audit(*tables, rule=MembershipRule(metric="auc", threshold=0.0))
        leaks += any(finding.verdict == "leak" for finding in found)
    print(f"{leaks} of 100 audits of three harmless targets call a leak")
    assert leaks <= 5


def test_a_claim_is_held_against_what_the_attacks_prove_for_its_unit():
    claim = Claim(unit="patient", epsilon=0.5, delta=1e-5)
    scan, patient = audit(table("central-dp", gain=4.0), claims={"central-dp": claim})[0]
    assert scan.epsilon_claimed is None
    assert (patient.epsilon_claimed, patient.delta) == (0.5, 1e-5)
    assert patient.epsilon_lower > 0.5
    assert "does not keep its promise" in patient.caveats[0]


def test_too_few_others_are_said_and_settle_nothing():
    found, _ = audit(table("central", gain=9.0, patients=(60, 40)))
    assert {f.verdict for f in found} == {"inconclusive"}
    assert "40 non-members do not resolve a false positive rate of 0.01: at least 100 are needed" in found[1].reason
    assert found[1].attacks[0].auc.value > 0.95
    tiny, _ = audit(table("central", patients=(5, 1)))
    assert {f.verdict for f in tiny} == {"inconclusive"}
    assert "too few" in tiny[0].reason


def test_what_was_not_attacked_has_no_verdict_and_baselines_are_left_out():
    refused = MembershipScores(target="headless", target_digest="", role="target", why_not="no head")
    found, exposed = audit(refused, table("untrained", role="baseline"))
    assert [(f.target, f.verdict, f.reason) for f in found] == [
        ("headless", "", "membership was not attacked: no head")
    ]
    assert exposed == {}


def test_a_target_in_doubt_is_not_cleared():
    rule, many = MembershipRule(metric="auc", threshold=0.1), table("own", patients=(900, 900))
    cleared, _ = audit(many, rule=rule)
    assert {f.verdict for f in cleared} == {"no leak found"}
    doubted, _ = audit_targets([many], {}, rule=rule, confidence=0.95, doubts={"own": "it may take HU"})
    assert {f.verdict for f in doubted} == {"inconclusive"}
    assert doubted[0].reason.startswith("it may take HU; ")


def test_without_a_rule_there_are_numbers_and_no_verdict():
    found, _ = audit(table("central", gain=4.0), rule=None)
    assert {f.verdict for f in found} == {""}
    assert found[0].attacks


def test_members_by_split_are_said():
    caveats = audit(table("central", members_from="split"))[0][0].caveats
    assert any("nobody stated" in text for text in caveats)
    assert any("no reference models" in text for text in caveats)
