"""Attacks on a target with its references' tables: what is planted is found, what is exchangeable is not."""

from dataclasses import replace

import numpy as np
import pytest

from flprivacy.attacks.membership.references import attack_with_references
from flprivacy.core.errors import AttackError
from flprivacy.core.membership_scores import LINEAGE, MembershipScores
from flprivacy.core.reference_scores import ReferenceScores
from tests.cohorts.tiny_cohort import write_tiny

SCANS, RECIPE = 240, "r" * 64


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("cohort"), scans=SCANS)


def area(members, others):
    """The AUC, pair by pair."""
    return float((np.sign(members[:, None] - others) + 1.0).mean() / 2.0)


def answers(rng, difficulty, inside, labels, *, moved):
    """(scan, class): training on a scan raises its logit; how easy a scan is differs far more."""
    logit = difficulty + moved * inside + 0.5 * rng.normal(size=SCANS)
    confidence = 1.0 / (1.0 + np.exp(-logit))
    own = np.eye(2)[labels]
    return confidence, (confidence[:, None] * own + (1.0 - confidence)[:, None] * (1.0 - own)).astype(np.float32)


def planted(cohort, *, moved, references=8, seed=0):
    rng = np.random.default_rng(seed)
    labels = cohort.manifest["label"].to_numpy()
    patients = cohort.manifest["patient_id"].astype(str).to_numpy()
    by_patient = np.unique(patients, return_inverse=True)[1]
    halves = [rng.random(by_patient.max() + 1) < 0.5 for _ in range(1 + references // 2)]
    members, difficulty = halves.pop()[by_patient], rng.normal(0.0, 3.0, SCANS)
    inside = np.array([side for half in halves for side in (half[by_patient], ~half[by_patient])])
    confidence, _ = answers(rng, difficulty, members, labels, moved=moved)
    tables = [
        ReferenceScores(
            recipe=RECIPE, cohort_digest=cohort.meta.digest, index=number, models=("model",),
            probabilities=answers(rng, difficulty, one, labels, moved=moved)[1][None], trained_on=one[None],
        )
        for number, one in enumerate(inside)
    ]  # fmt: skip
    signals = np.log(confidence / (1.0 - confidence))
    found = MembershipScores(
        target="central", target_digest="d" * 64, role="target", members_from=LINEAGE,
        scan_ids=cohort.manifest["scan_id"].to_numpy().astype(np.str_), patient_ids=patients,
        sites=np.repeat("Basel", SCANS), classes=np.repeat("covid", SCANS), models=np.repeat("model", SCANS),
        members=members, signals=signals, scores={"loss": signals},
    )  # fmt: skip
    return found, tables


def areas(found):
    return {name: area(scores[found.members], scores[~found.members]) for name, scores in found.scores.items()}


def test_references_tell_members_from_easy_scans(cohort):
    found, tables = planted(cohort, moved=1.5)
    seen = areas(attack_with_references(found, cohort, tables, recipe=RECIPE))
    assert list(seen) == ["loss", "calibrated loss", "RMIA", "BaVarIA", "LiRA", "LiRA offline"]
    assert seen["loss"] < 0.7
    for name in ("RMIA", "BaVarIA", "LiRA", "LiRA offline"):
        assert seen[name] > 0.85, name


def test_two_references_are_enough_for_rmia_and_too_few_for_lira(cohort):
    found, tables = planted(cohort, moved=1.5, references=2)
    done = attack_with_references(found, cohort, tables, recipe=RECIPE)
    assert list(done.scores) == ["loss", "calibrated loss", "RMIA", "BaVarIA"]
    assert done.references == 2
    assert areas(done)["RMIA"] > 0.85


def test_where_training_leaves_no_trace_every_attack_guesses(cohort):
    """Over 40 studies, so that an attack which favours either kind by its construction would show."""
    drawn = [planted(cohort, moved=0.0, seed=seed) for seed in range(40)]
    seen = [areas(attack_with_references(found, cohort, tables, recipe=RECIPE)) for found, tables in drawn]
    for name in seen[0]:
        values = np.array([one[name] for one in seen])
        assert abs(values.mean() - 0.5) < 4.0 * values.std() / np.sqrt(len(values)), name


def test_references_that_never_saw_a_scan_are_asked_offline(cohort):
    found, tables = planted(cohort, moved=1.5)
    never = np.arange(SCANS) < 2
    tables = [replace(one, trained_on=one.trained_on & ~never) for one in tables]
    seen = areas(attack_with_references(found, cohort, tables, recipe=RECIPE))
    assert list(seen) == ["loss", "calibrated loss", "RMIA", "BaVarIA", "LiRA offline"]
    assert seen["LiRA offline"] > 0.85
    assert seen["RMIA"] > seen["loss"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cohort_digest": "e" * 64}, "reference 1 was trained on another cohort .eeeeeeeeeeee.*train it again"),
        ({"recipe": "s" * 64}, "reference 1 was trained by another recipe .ssssssssssss"),
        ({"models": ("site-00",)}, "reference 1 has models site-00, the target model; state the recipe"),
        ({"index": 0}, "a reference is given twice"),
        ({"trained_on": np.zeros((1, 3), bool)}, "reference 1 has answers of shape"),
        ({"probabilities": np.full((1, SCANS, 2), np.nan, np.float32)}, "240 scans were asked of a model of another"),
    ],
)
def test_references_of_something_else_are_refused(cohort, changes, message):
    found, tables = planted(cohort, moved=1.5, references=2)
    with pytest.raises(AttackError, match=f"target 'central'.*{message}"):
        attack_with_references(found, cohort, [tables[0], replace(tables[1], **changes)], recipe=RECIPE)


def test_scans_that_the_cohort_lacks_are_refused(cohort):
    found, tables = planted(cohort, moved=1.5, references=2)
    other = np.array([f"other-{i}" for i in range(SCANS)])
    with pytest.raises(AttackError, match="240 of its scans are not in cohort 'tiny'"):
        attack_with_references(replace(found, scan_ids=other), cohort, tables, recipe=RECIPE)
