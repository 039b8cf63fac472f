"""Who is scored, by which model, and what a list of members that does not fit is answered with."""

import json
from dataclasses import replace

import numpy as np
import pytest

from flprivacy.attacks.membership.target import Answers, attack_target, population_scores
from flprivacy.core.cohort import TEST, TRAIN
from flprivacy.core.digests import digest_bytes
from flprivacy.core.errors import AttackError
from flprivacy.core.membership_scores import MembershipScores
from flprivacy.core.target import Lineage, ModelRecord, TargetRecord
from flprivacy.targets.lineage import PrivatePart, pseudonym
from tests.cohorts.tiny_cohort import write_tiny

KEY = "ab" * 32


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("cohort"), scans=120)


def record_of(*models, **changes):
    record = TargetRecord(
        name="central", role="target", topology="central", architecture="cnn3d_small", shape=(3, 4, 5), n_classes=2,
        protocol="standard", digest="d" * 64,
        models=tuple(ModelRecord(name=name, weights=f"{name}.h5", sha256="") for name in models),
    )  # fmt: skip
    return replace(record, **changes)


def answers_of(cohort, *models, scans=None):
    """Model i is surest of the scans of site i; all rows are scored but those of some training patients."""
    rows = np.flatnonzero(np.arange(len(cohort.manifest)) % 10 < 8) if scans is None else scans
    sites, labels = (cohort.manifest[name].to_numpy()[rows] for name in ("site_id", "label"))
    sure = np.array([np.where(sites == i, 0.9, 0.6) for i in range(len(models))])
    own = np.eye(2)[labels]
    probabilities = sure[..., None] * own + (1.0 - sure[..., None]) * (1.0 - own)
    return Answers(models=models, rows=rows, probabilities=probabilities.astype(np.float32))


def part_of(folder, cohort, rows_of_model):
    key, digest = KEY, cohort.meta.digest
    scans = cohort.manifest["scan_id"].to_numpy()
    listed = {name: [pseudonym(key, digest, scans[row]) for row in rows] for name, rows in rows_of_model.items()}
    (folder / "members.json").write_text(json.dumps(listed))
    lineage = Lineage(target_digest="d" * 64, cohort_digest=digest, members="members.json", members_key=key)
    return PrivatePart(folder=folder, lineage=lineage)


def test_members_are_those_of_the_private_part_and_nobody_else(cohort, tmp_path):
    train = cohort.rows(TRAIN)
    part = part_of(tmp_path, cohort, {"model": train[::2]})
    answers = answers_of(cohort, "model")
    found = attack_target(answers, cohort, record_of("model"), part)
    ids = cohort.manifest["scan_id"].to_numpy()
    assert found.members_from == "lineage"
    assert set(found.scan_ids[found.members]) == set(ids[np.intersect1d(train[::2], answers.rows)])
    assert set(found.scan_ids[~found.members]) == set(ids[np.intersect1d(cohort.rows(TEST), answers.rows)])
    assert found.scores["loss"] == pytest.approx(np.log(np.where(found.sites == "Basel", 0.9, 0.6)), abs=1e-6)


def test_without_a_private_part_the_training_split_is_taken_and_said(cohort):
    found = attack_target(answers_of(cohort, "model"), cohort, record_of("model"), None)
    split = dict(zip(cohort.manifest["scan_id"], cohort.manifest["split"], strict=True))
    assert found.members_from == "split"
    assert [split[scan] == TRAIN for scan in found.scan_ids] == found.members.tolist()


def test_of_several_models_the_one_of_the_scans_hospital_is_asked(cohort, tmp_path):
    train, sites = cohort.rows(TRAIN), cohort.manifest["site_id"].to_numpy()
    names = [f"site-{i:02d}" for i in range(3)]
    part = part_of(tmp_path, cohort, {name: train[sites[train] == i] for i, name in enumerate(names)})
    found = attack_target(answers_of(cohort, *names), cohort, record_of(*names), part)
    assert found.models.tolist() == [names[cohort.meta.site_names.index(site)] for site in found.sites]
    assert np.exp(found.scores["loss"]) == pytest.approx(np.full(len(found.members), 0.9), abs=1e-6)


def test_older_lists_name_members_by_a_plain_digest(cohort, tmp_path):
    train, ids = cohort.rows(TRAIN), cohort.manifest["scan_id"].to_numpy()
    part = part_of(tmp_path, cohort, {})
    listed = {"model": [digest_bytes(f"{cohort.meta.digest}{ids[row]}".encode()) for row in train]}
    (tmp_path / "members.json").write_text(json.dumps(listed))
    part = replace(part, lineage=replace(part.lineage, members_key=""))
    found = attack_target(answers_of(cohort, "model"), cohort, record_of("model"), part)
    assert set(found.scan_ids[found.members]) <= set(ids[train])
    assert found.members.any()


def test_a_list_of_members_of_another_cohort_is_refused(cohort, tmp_path):
    part = part_of(tmp_path, cohort, {"model": cohort.rows(TRAIN)[:5]})
    elsewhere = replace(part, lineage=replace(part.lineage, cohort_digest="another"))
    with pytest.raises(AttackError, match=r"names 5 scan\(s\) that cohort 'tiny' lacks"):
        attack_target(answers_of(cohort, "model"), cohort, record_of("model"), elsewhere)


def test_a_cohort_with_another_split_is_refused(cohort, tmp_path):
    part = part_of(tmp_path, cohort, {"model": np.arange(len(cohort.manifest))})
    with pytest.raises(AttackError, match=r"trained on \d+ of the scans that cohort 'tiny' holds out"):
        attack_target(answers_of(cohort, "model"), cohort, record_of("model"), part)


def test_what_cannot_be_attacked_is_said_not_guessed(cohort):
    answers = answers_of(cohort, "model")
    headless = replace(answers, probabilities=answers.probabilities[..., :0])
    several = answers_of(cohort, "a", "b")
    more = replace(answers, probabilities=np.repeat(answers.probabilities, 2, axis=-1) / 2.0)
    sigmoids = replace(answers, probabilities=answers.probabilities * 1.5)
    held_out = answers_of(cohort, "model", scans=cohort.rows(TEST))
    for given, record, why in (
        (answers, record_of("model", role="baseline"), "trained on nobody"),
        (headless, record_of("model"), "no head"),
        (more, record_of("model"), "4 classes"),
        (several, record_of("a", "b"), "several models"),
        (sigmoids, record_of("model"), "no probabilities"),
        (held_out, record_of("model"), "no training scan is left"),
    ):
        found = attack_target(given, cohort, record, None)
        assert why in found.why_not
        assert not len(found.scan_ids)


def test_a_table_survives_its_file(cohort, tmp_path):
    found = attack_target(answers_of(cohort, "model"), cohort, record_of("model"), None)
    found.write(tmp_path / "table.parquet")
    again = MembershipScores.read(tmp_path / "table.parquet")
    for name, value in vars(found).items():
        if name == "scores":
            assert {k: v.tolist() for k, v in again.scores.items()} == {k: v.tolist() for k, v in value.items()}
        else:
            assert np.array_equal(getattr(again, name), value), name


def test_population_scores_of_members_without_a_trace_are_those_of_non_members():
    """Every patient is compared with others only, members as non-members: their scores are alike."""
    rng = np.random.default_rng(0)
    gaps = []
    for _ in range(60):
        patients = np.repeat(np.arange(150), 2)
        members = patients % 3 > 0
        classes, level = rng.integers(0, 3, 300), rng.normal(size=150)[patients]
        scores = population_scores(level + classes, classes, members, patients.astype(np.str_))
        gaps.append(scores[members].mean() - scores[~members].mean())
    assert abs(np.mean(gaps)) < 3.0 * np.std(gaps) / np.sqrt(len(gaps))


def test_rare_classes_are_compared_with_all():
    rng = np.random.default_rng(1)
    classes = np.where(np.arange(100) == 7, 1, 0)
    patients, members = np.arange(100).astype(np.str_), np.arange(100) % 2 == 0
    assert np.isfinite(population_scores(rng.normal(size=100), classes, members, patients)).all()
    with pytest.raises(AttackError, match="too few for a population"):
        population_scores(np.zeros(2), np.zeros(2, int), np.array([True, True]), np.array(["a", "b"]))
