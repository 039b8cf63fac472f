"""Score tables without pseudonyms: the same numbers in every audit of a cohort, unlinkable across attributes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.anonymous import anonymous, anonymous_members
from flprivacy.auditing.changes import compare_with_before
from flprivacy.auditing.config import AuditConfig
from flprivacy.auditing.runs import collect_runs
from flprivacy.core.attributes import MEMBERS
from flprivacy.core.membership_scores import MembershipScores
from tests.auditing.score_tables import People, make_table
from tests.cohorts.tiny_cohort import write_tiny


def test_no_pseudonym_is_left_and_nothing_else_is_lost() -> None:
    people = People()
    table = make_table("central", people, signal=0.5, seeds=(0, 1))
    hidden = anonymous(table)
    names = {*people.scans.tolist(), *people.patients.tolist()}
    for block, original in zip(hidden.blocks, table.blocks, strict=True):
        assert not names & {*block.scan_ids.tolist(), *block.patient_ids.tolist()}
        assert len(set(block.scan_ids.tolist())) == len(original.scan_ids)
        assert len(set(block.patient_ids.tolist())) == len(set(original.patient_ids.tolist()))
        assert sorted(block.truth.tolist()) == sorted(original.truth.tolist())
        assert sorted(block.scores[:, 0].tolist()) == sorted(original.scores[:, 0].tolist())
    collect_runs([hidden])  # still the same scans and truths in every block


def test_two_audits_of_a_cohort_are_compared_as_if_their_names_were_known() -> None:
    people = People()
    now = [
        replace(make_table(n, people, signal=0.7, seeds=(0, 1)), architecture="net") for n in ("central", "untrained")
    ]
    before = [
        replace(make_table(n, people, signal=0.4, seeds=(0, 1)), architecture="net") for n in ("central", "untrained")
    ]
    config = AuditConfig(bootstrap=100)
    known = compare_with_before("central", now, before, config=config)
    hidden = compare_with_before("central", list(map(anonymous, now)), list(map(anonymous, before)), config=config)
    for one, other in zip(known, hidden, strict=True):
        assert np.isclose(one.value, other.value)
        assert np.isclose(one.model_p_value, other.model_p_value, rtol=0.5, atol=0.02)  # resampled in another order


def test_members_that_are_scored_change_no_number_of_a_held_out_scan() -> None:
    table = make_table("central", People(), signal=0.5, seeds=(0, 1))
    members = tuple(
        replace(
            block,
            attack=replace(block.attack, scans=MEMBERS),
            scan_ids=np.asarray([f"member-{name}" for name in block.scan_ids.tolist()]),
            patient_ids=np.asarray([f"member-{name}" for name in block.patient_ids.tolist()]),
        )
        for block in table.blocks
    )
    mixed = [block for pair in zip(table.blocks, members, strict=True) for block in pair]
    hidden = anonymous(replace(table, blocks=tuple(mixed)))
    for block, alone in zip(hidden.blocks[::2], anonymous(table).blocks, strict=True):
        np.testing.assert_array_equal(block.scan_ids, alone.scan_ids)
        np.testing.assert_array_equal(block.patient_ids, alone.patient_ids)


def test_attributes_are_numbered_apart_and_other_cohorts_too() -> None:
    people = People(unknown=0)
    table = make_table("central", people, signal=0.5, seeds=(0, 1))

    def numbers(attribute: str, digest: str = "cohort") -> dict[str, str]:
        one = replace(table, cohort_digest=digest)
        block = next(iter(one.select(attribute=attribute)))
        hidden = next(iter(anonymous(one).select(attribute=attribute)))
        by_score = dict(zip(hidden.scores[:, 0].tolist(), hidden.scan_ids.tolist(), strict=True))
        return {s: by_score[x] for s, x in zip(block.scan_ids.tolist(), block.scores[:, 0].tolist(), strict=True)}

    assert numbers("site") == numbers("site")
    assert numbers("site") != numbers("sex")
    assert numbers("site") != numbers("site", "another")


def test_members_are_numbered_alike_whichever_are_asked_about(tmp_path: Path) -> None:
    cohort = write_tiny(tmp_path / "cohort", scans=40)
    manifest, rng = cohort.manifest, np.random.default_rng(0)
    scans, patients = (manifest[f"{name}_id"].to_numpy().astype(np.str_) for name in ("scan", "patient"))

    def table(rows: npt.NDArray[np.int64]) -> MembershipScores:
        text = np.full(len(rows), "Basel")
        return MembershipScores(
            target="central", target_digest="", role="target", scan_ids=scans[rows], patient_ids=patients[rows],
            sites=text, classes=text, models=text, members=rows % 2 == 0, signals=rows.astype(np.float64),
            scores={"loss": -rows.astype(np.float64)}, vulnerability=rows.astype(np.float64),
        )  # fmt: skip

    some, others = (anonymous_members(table(rng.permutation(40)[:30]), cohort) for _ in range(2))
    common = set(some.scan_ids.tolist()) & set(others.scan_ids.tolist())
    assert len(common) >= 20
    of = [dict(zip(one.scan_ids.tolist(), one.signals.tolist(), strict=True)) for one in (some, others)]
    assert all(of[0][number] == of[1][number] for number in common)
    people = [dict(zip(one.scan_ids.tolist(), one.patient_ids.tolist(), strict=True)) for one in (some, others)]
    assert all(people[0][number] == people[1][number] for number in common)
    assert not {*some.scan_ids.tolist(), *some.patient_ids.tolist()} & {*scans.tolist(), *patients.tolist()}
    assert {*some.sites.tolist(), *some.classes.tolist(), *some.models.tolist()} == {""}
    assert len(some.vulnerability) == 0
    assert (some.scores["loss"] == -some.signals).all()
    assert (some.members == (some.signals % 2 == 0)).all()
