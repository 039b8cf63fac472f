from dataclasses import replace

import numpy as np
import pytest
from attack_examples import bare_cohort, manifest, written_cohort

from flprivacy.attacks.baselines import attack_pixels, majority
from flprivacy.attacks.config import AttackConfig
from flprivacy.cohorts.sampling import exposed_rows
from flprivacy.core.errors import AttackError

CONFIG = AttackConfig(
    members=False, fractions=(0.5, 0.8), seeds=(0, 4), epochs=40, batch_size=16, views=1, learning_rate=3e-3
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return written_cohort(tmp_path_factory.mktemp("cohort") / "tiny", scans=144)


@pytest.fixture(scope="module")
def pixels(cohort, tmp_path_factory):
    return attack_pixels(CONFIG, cohort, protocol="standard", work=tmp_path_factory.mktemp("work"))


def test_the_pixel_attacker_sees_what_is_in_the_pixels(pixels):
    table, curves = pixels
    assert curves.empty
    assert (table.target, table.role, table.target_digest) == ("pixels", "baseline", "")
    assert {(b.attack.access, b.model) for b in table.blocks} == {("none", "model")}
    last = {}
    for name in ("site", "sex", "age_years"):
        blocks = list(table.select(attribute=name, fraction=0.8))
        last[name] = np.mean([np.abs(b.scores[:, 0] - b.truth).mean() for b in blocks])
        if name != "age_years":
            last[name] = np.mean([(b.scores.argmax(axis=1) == b.truth).mean() for b in blocks])
    assert last["site"] > 0.9  # noise differs between the sites
    assert last["sex"] > 0.9  # a corner is brighter
    assert last["age_years"] < 9  # a block is brighter; the ages' mean absolute deviation is about 17


def test_pixel_attacks_are_repeatable(pixels, cohort, tmp_path):
    config = replace(CONFIG, fractions=(0.8,))
    table, _ = attack_pixels(config, cohort, protocol="standard", work=tmp_path)
    twins = [b for b in pixels[0].blocks if b.attack.fraction == 0.8]
    for block, twin in zip(table.blocks, twins, strict=True):
        assert block.key == twin.key
        np.testing.assert_allclose(block.scores, twin.scores, rtol=1e-3, atol=1e-3)


def test_majority_is_the_count_of_the_exposed_sample():
    cohort = bare_cohort()
    table = majority(CONFIG, cohort)
    rows = cohort.manifest
    assert len(table.blocks) == 2 * 2 * 4
    for block in table.blocks:
        exposed = rows.iloc[exposed_rows(cohort, fraction=block.attack.fraction, seed=block.seed)]
        assert block.attack.target == "majority"
        assert block.attack.access == "none"
        if block.attack.attribute == "sex":
            women, men = (exposed["sex"] == "F").sum(), (exposed["sex"] == "M").sum()
            np.testing.assert_allclose(block.scores, [[women / (women + men), men / (women + men)]] * len(block.truth))
        if block.attack.attribute == "site":
            counts = [(exposed["site_id"] == i).sum() for i in range(3)]
            np.testing.assert_allclose(block.scores[0], np.array(counts) / len(exposed), rtol=1e-6)
        if block.attack.attribute == "age_years":
            np.testing.assert_allclose(block.scores, exposed["age_years"].median(), rtol=1e-6)


def test_baselines_refuse_what_cannot_be_learnt(tmp_path):
    table = manifest()
    table["site_id"] = 0
    cohort = bare_cohort(table, sites=1)
    with pytest.raises(AttackError, match="attribute site: "):
        majority(CONFIG, cohort)
    with pytest.raises(AttackError, match="attribute site: "):
        attack_pixels(CONFIG, cohort, protocol="standard", work=tmp_path)
