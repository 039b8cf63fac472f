"""References on halves of the hospitals from a plan to a finding: trained, shared, asked about, and refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flprivacy.attacks.config import MembershipConfig
from flprivacy.auditing.config import MembershipRule
from flprivacy.auditing.membership.targets import audit_targets
from flprivacy.core.artifacts import REFERENCE_FILE
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import ConfigError
from flprivacy.core.membership_scores import MembershipScores
from flprivacy.core.reference_scores import ReferenceScores
from flprivacy.study.config import StudyConfig
from flprivacy.study.exposure import ask_about_sites, attack_with_references
from flprivacy.study.kept_scores import audit_key
from flprivacy.study.plan import Plan, given_study
from flprivacy.study.references import check_enough_sites, check_references, reference_jobs
from flprivacy.study.train_reference import train_reference
from flprivacy.training.config import TargetConfig

CENTRAL = TargetConfig(topology="central", architecture="tiny", epochs=1, batch_size=8)
TARGETS = {
    "again": replace(CENTRAL, seed=3),
    "central": CENTRAL,
    "federated": replace(CENTRAL, topology="federated", rounds=1),
    "fresh": TargetConfig(topology="untrained", architecture="tiny"),
    "siloed": replace(CENTRAL, topology="siloed"),
}


pytestmark = pytest.mark.usefixtures("tiny_architecture")


def study_of(**membership: Any) -> StudyConfig:
    return StudyConfig(name="x", targets=TARGETS, membership=MembershipConfig(**membership))


def plan_of(**membership: Any) -> Plan:
    return Plan(pipeline="study", command="", study=study_of(**membership))


def attacked(*names: str) -> list[MembershipScores]:
    return [MembershipScores(target=name, target_digest="", role="target") for name in names]


def references_of(folder: Path, plan: Plan, hospitals: Cohort, store: str) -> tuple[Path, ...]:
    jobs = reference_jobs(plan)
    for number, job in enumerate(jobs):
        reference = folder / f"{store}-{number}"
        train_reference(plan, hospitals.folder, job, store=str(folder / store), reference=reference)
    return tuple(folder / f"{store}-{number}" for number in range(len(jobs)))


def test_from_a_plan_to_a_finding_and_a_rerun_finds_the_same(tmp_path: Path, hospitals: Cohort) -> None:
    plan = plan_of(references_of={"central": 2}, site_references=4)
    jobs = reference_jobs(plan)
    assert [(job.target, job.index, job.drawn) for job in jobs] == [
        *(("central", index, "patients") for index in range(2)),
        *(("again", index, "sites") for index in range(4)),  # central's too, which is of its recipe
        *(("federated", index, "sites") for index in range(4)),
    ]
    found = []
    for store in ("store", "other"):
        trained = references_of(tmp_path, plan, hospitals, store)
        asked, failures = ask_about_sites(plan, hospitals, attacked(*TARGETS)[:3], trained, step="evaluate")
        assert failures == []
        found.append({one.target: one for one in asked})
    for name in ("central", "federated"):
        first, second = (one[name] for one in found)
        assert (first.sites, first.took_part.shape) == (tuple("abcde"), (4, 5))
        np.testing.assert_array_equal(first.took_part[::2], ~first.took_part[1::2])
        np.testing.assert_array_equal(first.contributed, second.contributed)
        np.testing.assert_array_equal(first.held_out, second.held_out)
    assert not np.array_equal(found[0]["central"].contributed, found[0]["federated"].contributed)
    findings, _ = audit_targets((), {}, rule=MembershipRule(), confidence=0.95, sites=found[0].values())
    assert [(one.target, one.level, one.sites.references) for one in findings] == [
        (name, "site", 4) for name in ("again", "central", "federated")
    ]
    tables, failures = attack_with_references(plan, hospitals, (), trained, step="evaluate")
    assert (tables, failures) == ([], [])


def test_more_of_them_train_only_the_new_ones(tmp_path: Path, hospitals: Cohort) -> None:
    store = tmp_path / "store" / "reference"
    references_of(tmp_path, plan_of(site_references_of={"central": 4}), hospitals, "store")
    before = {path: path.stat().st_mtime_ns for path in store.glob(f"*/{REFERENCE_FILE}")}
    again = references_of(tmp_path, plan_of(site_references_of={"again": 6}), hospitals, "store")
    after = {path: path.stat().st_mtime_ns for path in store.glob(f"*/{REFERENCE_FILE}")}
    assert (len(before), len(after)) == (4, 6)
    assert before.items() <= after.items()
    assert [ReferenceScores.read(one).index for one in again] == list(range(6))


def test_targets_without_them_say_why_and_missing_ones_are_a_failure(tmp_path: Path, hospitals: Cohort) -> None:
    plan = plan_of(site_references=4, site_references_of={"federated": 0})
    asked, failures = ask_about_sites(plan, hospitals, attacked("central", "federated", "siloed"), (), step="evaluate")
    assert [(one.target, one.why_not) for one in asked] == [
        ("siloed", "it has a model for each hospital, which names the hospital that it was trained at")
    ]
    assert [one.target for one in failures] == ["central"]
    assert "4 of 4 site references of its recipe are missing, the first is 0" in failures[0].reason
    (finding,), _ = audit_targets((), {}, rule=MembershipRule(), confidence=0.95, sites=asked)
    assert (finding.level, finding.verdict) == ("site", "")
    assert "it was not asked whether a hospital took part: it has a model for each hospital" in finding.reason


@pytest.mark.parametrize(
    ("membership", "message"),
    [
        ({"site_references": 3}, "site_references is 3; must be 0 or an even number"),
        ({"site_references": 2}, "site_references is 2; must be 0 or at least 4"),
        ({"site_references_of": {"central": -2}}, r"site_references_of\.central is -2"),
    ],
)
def test_numbers_that_allow_no_game_are_refused(membership: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MembershipConfig(**membership)


def test_what_has_no_halves_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(
        ConfigError, match=r"site_references_of\.siloed is 4: it has a model for each hospital.*leave it"
    ):
        check_references(study_of(site_references_of={"siloed": 4}))
    with pytest.raises(ConfigError, match="site_references_of names 'unknown', which is no target"):
        check_references(study_of(site_references_of={"unknown": 4}))
    with pytest.raises(ConfigError, match=r"the cohort has 3 site\(s\), and whether one took part in 'again' takes"):
        check_enough_sites(plan_of(site_references=4), 3)
    check_enough_sites(plan_of(references=2), 3)
    check_enough_sites(plan_of(site_references=4), 4)


def test_an_audit_of_given_targets_keeps_the_number_and_its_key_tells_it() -> None:
    study = given_study(study_of(site_references=4, site_references_of={"central": 8}), {"central": "tiny"}, {})
    assert study.membership.of("central", "sites") == 4  # the preset's 8 were for the target that it trains itself
    keys = {
        audit_key(target="a", cohort_digest="c", target_digest="t", architecture="tiny", study=study_of(**asked))
        for asked in ({}, {"references": 4}, {"site_references": 4})
    }
    assert len(keys) == 3
