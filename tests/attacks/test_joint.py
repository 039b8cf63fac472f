"""Attackers who hold the scan beside the model, or all models; and attacks on scans that the models were trained on."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from attack_examples import written_cohort
from target_examples import write_target

from flprivacy.attacks.answering import answer_jointly
from flprivacy.attacks.attribute import attack_attributes
from flprivacy.attacks.baselines import ACCESS, attack_pixels, pixel_attack
from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.joint import ALL
from flprivacy.attacks.scenario import prepare
from flprivacy.core.attributes import HELD_OUT, MEMBERS

CONFIG = AttackConfig(fractions=(0.3,), seeds=(0, 1))
SILOS = ("site-00", "site-01", "site-02")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return written_cohort(tmp_path_factory.mktemp("cohort") / "tiny", scans=144)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def targets(cohort, work):
    """Score tables of a central, a siloed and an untrained target."""
    folder, found = work / "targets", {}
    for name, names, role in (
        ("central", ("model",), "target"),
        ("siloed", SILOS, "target"),
        ("fresh", SILOS, "baseline"),
    ):
        write_target(folder / name, cohort, names=names, role=role)
        found[name] = attack_attributes(CONFIG, cohort, folder / name, protocol="standard", work=work / name)[0]
    return found


def accesses(table, scans=HELD_OUT):
    return {(b.model, b.attack.access) for b in table.blocks if b.attack.scans == scans}


def test_what_is_attacked_follows_from_the_target(targets):
    one = {("model", access) for access in ("features", "outputs", "joint")}
    each = {(name, access) for name in SILOS for access in ("features", "outputs", "joint")}
    assert accesses(targets["central"]) == accesses(targets["central"], MEMBERS) == one
    assert accesses(targets["siloed"]) == each | {(ALL, "together")}
    assert accesses(targets["siloed"], MEMBERS) == {(ALL, "together")}
    assert accesses(targets["fresh"]) == each | {(name, "together") for name in SILOS}
    assert accesses(targets["fresh"], MEMBERS) == accesses(targets["fresh"])


def test_fresh_weights_stand_for_several_models_by_their_features(targets):
    blocks = {b.key: b for b in targets["fresh"].blocks}
    for key, block in blocks.items():
        if block.attack.access == "together":
            twin = blocks[replace(block.attack, access="features"), *key[1:]]
            np.testing.assert_array_equal(block.scores, twin.scores)


def test_members_are_the_same_for_every_attacker_and_nobody_holds_them(targets, cohort):
    scenario = prepare(CONFIG, cohort, protocol="standard")
    ids = cohort.manifest["scan_id"].to_numpy()
    assert len(scenario.members)
    held = set(np.concatenate([one.rows for one in scenario.exposures]).tolist())
    assert not held & set(scenario.members.tolist())
    for table in targets.values():
        for block in table.select(attribute="site", scans=MEMBERS):
            assert block.scan_ids.tolist() == ids[scenario.members].tolist()
    assert prepare(replace(CONFIG, members=False), cohort, protocol="standard").members.size == 0


def test_scores_on_held_out_scans_do_not_depend_on_whether_members_are_scored(targets, cohort, work, tmp_path):
    config = replace(CONFIG, members=False, accesses=("features",))
    table, _ = attack_attributes(config, cohort, work / "targets" / "central", protocol="standard", work=tmp_path)
    expected = {b.key: b for b in targets["central"].blocks}
    for block in table.blocks:
        np.testing.assert_allclose(block.scores, expected[block.key].scores, rtol=1e-4, atol=1e-5)


def test_the_joint_attack_is_the_fusion_of_pixels_and_model(targets, cohort, work):
    scenario = prepare(CONFIG, cohort, protocol="standard")
    pixels = pixel_attack(scenario, work=work / "central" / "pixels", results=None).run([ACCESS])
    pixel_scores = {b.key[1:]: b for b in attack_pixels(CONFIG, cohort, protocol="standard", work=work / "p")[0].blocks}
    alone = answer_jointly([list(pixels[0].answers.values())], scenario.exposures[0].known)
    assert pixel_scores
    site = next(targets["central"].select(attribute="site", access="joint", scans=HELD_OUT))
    assert site.seed == 0
    truth = site.truth.astype(int)
    rows = scenario.positions(scenario.test)
    # the tiny cohort's texture tells the site: fresh weights have nothing to add and must not take away
    joint, before = (np.mean(s.argmax(axis=1) == truth) for s in (site.scores, alone[0].scores[rows]))
    assert before > 0.8
    assert joint > before - 0.06


def test_finished_attacks_from_pixels_are_used_where_they_are_given(targets, cohort, work, tmp_path):
    results = tmp_path / "pixels"
    attack_pixels(CONFIG, cohort, protocol="standard", work=tmp_path / "p", results=results)
    assert len(list(results.glob("*.npz"))) == 2
    shutil.rmtree(tmp_path / "p")
    folder = work / "targets" / "central"
    table, _ = attack_attributes(CONFIG, cohort, folder, protocol="standard", work=tmp_path / "w", pixels=results)
    assert not (tmp_path / "w" / "pixels").exists()
    expected = {b.key: b for b in targets["central"].blocks}
    for block in table.select(attribute="sex", access="joint"):
        np.testing.assert_array_equal(block.scores, expected[block.key].scores)
