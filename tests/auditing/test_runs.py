"""Runs: alignment of score tables, and one clear error for each contradiction."""

import re
from dataclasses import replace

import numpy as np
import pytest

from flprivacy.auditing.runs import collect_runs
from flprivacy.core.attributes import MEMBERS
from flprivacy.core.errors import AuditError
from flprivacy.core.scores import ScoreBlock, ScoreTable
from tests.auditing.score_tables import People, change, make_study


@pytest.fixture(scope="module")
def study() -> list[ScoreTable]:
    return make_study()


def refused(tables: list[ScoreTable], message: str) -> None:
    """The tables are refused in one line that names no scan and no patient."""
    with pytest.raises(AuditError, match=message) as caught:
        collect_runs(tables)
    text = str(caught.value)
    assert "\n" not in text
    assert not re.search(r"(scan|patient)-\d", text)


def test_scores_are_aligned_by_scan_whatever_their_order(study: list[ScoreTable]) -> None:
    found = collect_runs(study)
    assert list(found) == ["site", "sex", "age_band", "age_years"]
    runs = next(
        r for r in found["sex"] if (r.attack.target, r.attack.access, r.attack.fraction) == ("siloed", "outputs", 0.25)
    )
    assert runs.scores.shape == (3, 5, 54, 2)
    assert runs.held_out.n_scans == 54
    assert runs.held_out.n_patients == len(set(runs.held_out.patient_ids))
    block = next(b for b in study[1].blocks if b.model == "m-2" and b.seed == 4 and b.attack.attribute == "sex"
                 and b.attack.access == "outputs" and b.attack.fraction == 0.25)  # fmt: skip
    for scan, scores, truth in zip(block.scan_ids, block.scores, block.truth, strict=True):
        position = runs.held_out.scan_ids.tolist().index(scan)
        np.testing.assert_array_equal(runs.scores[2, 4, position], scores)
        assert runs.held_out.truth[position] == truth


def test_scores_on_members_are_not_those_on_held_out_scans(study: list[ScoreTable]) -> None:
    first = study[0].blocks[0]
    members = replace(
        first,
        attack=replace(first.attack, scans=MEMBERS),
        scan_ids=np.char.add("m", first.scan_ids),
    )
    found = collect_runs([replace(study[0], blocks=(*study[0].blocks, members)), *study[1:]])
    expected = collect_runs(study)
    for name, runs in expected.items():
        for one, other in zip(found[name], runs, strict=True):
            np.testing.assert_array_equal(one.scores, other.scores)


def test_patients_per_class_mean_is_harmonic() -> None:
    held_out = collect_runs(make_study(people=People(n=30)))["sex"][0].held_out
    patients = [len({p for p, t in zip(held_out.patient_ids, held_out.truth, strict=True) if t == c}) for c in (0, 1)]
    assert held_out.patients_per_class_mean == pytest.approx(4 / (1 / patients[0] + 1 / patients[1]))


def test_no_tables() -> None:
    refused([], "no score table given")


def test_only_baselines(study: list[ScoreTable]) -> None:
    refused(study[2:], "only baselines")


def test_one_target_twice(study: list[ScoreTable]) -> None:
    refused([*study, study[0]], "'central' has 2 score tables")


def test_mixed_cohorts(study: list[ScoreTable]) -> None:
    refused([replace(study[0], cohort_digest="other"), *study[1:]], "come from different cohorts")


def test_unknown_role(study: list[ScoreTable]) -> None:
    refused([replace(study[0], role="victim"), *study[1:]], "role is 'victim'")


def test_unknown_attribute(study: list[ScoreTable]) -> None:
    spoilt = change(study, "pixels", lambda b: replace(b, attack=replace(b.attack, attribute=b.attack.attribute + "s")))
    refused(spoilt, "attribute 'sites' is unknown")


def test_different_classes(study: list[ScoreTable]) -> None:
    other = study[3].class_names | {"site": ("north", "south", "west")}
    refused([*study[:3], replace(study[3], class_names=other), study[4]], "must name the same classes")


def test_one_scan_less(study: list[ScoreTable]) -> None:
    def edit(block: ScoreBlock) -> ScoreBlock:
        return replace(
            block,
            scan_ids=block.scan_ids[1:],
            patient_ids=block.patient_ids[1:],
            truth=block.truth[1:],
            scores=block.scores[1:],
        )

    refused(change(study, "pixels", edit), "pixels: site from none .* are not the 60 of the other attacks")


def test_another_truth(study: list[ScoreTable]) -> None:
    spoilt = change(study, "pixels", lambda b: replace(b, truth=b.truth[::-1].copy()))
    refused(spoilt, "or with other truths or patients")


def test_a_scan_twice(study: list[ScoreTable]) -> None:
    def edit(block: ScoreBlock) -> ScoreBlock:
        return replace(block, scan_ids=np.array([block.scan_ids[0], *block.scan_ids[:-1]]))

    refused(change(study, "central", edit), "scores a held-out scan twice")


def test_a_model_without_one_seed(study: list[ScoreTable]) -> None:
    spoilt = change(study, "siloed", lambda b: None if (b.model, b.seed) == ("m-1", 3) else b)
    refused(spoilt, "no scores for model 'm-1' and seed 3")


def test_one_seed() -> None:
    refused(make_study(seeds=(7,)), "attacked with 1 seed; .* at least 2")


def test_a_single_class_attribute(study: list[ScoreTable]) -> None:
    def edit(block: ScoreBlock) -> ScoreBlock:
        return replace(block, truth=np.zeros_like(block.truth)) if block.attack.attribute == "sex" else block

    for table in study:
        study = change(study, table.target, edit)
    refused(study, "sex: all 54 held-out scans have the same true value.*leave sex out")


def test_a_true_class_without_a_name(study: list[ScoreTable]) -> None:
    spoilt = change(study, "central", lambda b: replace(b, truth=b.truth + 1))
    refused(spoilt, "no index into its 4 class names")


def test_a_score_column_too_few(study: list[ScoreTable]) -> None:
    refused(change(study, "pixels", lambda b: replace(b, scores=b.scores[:, :1])), "1 score columns for 4 classes")


def test_a_single_patient(study: list[ScoreTable]) -> None:
    def edit(block: ScoreBlock) -> ScoreBlock:
        return replace(block, patient_ids=np.full_like(block.patient_ids, "p"))

    for table in study:
        study = change(study, table.target, edit)
    refused(study, "all held-out scans are of one patient")
