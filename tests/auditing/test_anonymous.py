"""Score tables without pseudonyms: the same numbers in every audit of a cohort, unlinkable across attributes."""

from dataclasses import replace

import numpy as np

from flprivacy.auditing.anonymous import anonymous
from flprivacy.auditing.changes import compare_with_before
from flprivacy.auditing.config import AuditConfig
from flprivacy.auditing.runs import collect_runs
from flprivacy.core.attributes import MEMBERS
from tests.auditing.score_tables import People, make_table


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
