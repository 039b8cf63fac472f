import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from attack_examples import bare_cohort, manifest, written_cohort
from keras import layers
from target_examples import write_target

from flprivacy.attacks import frozen
from flprivacy.attacks.attribute import attack_attributes
from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.learner import curve_epochs
from flprivacy.core.errors import AttackError
from flprivacy.core.scores import CURVE_COLUMNS
from flprivacy.core.target_source import TargetSource
from flprivacy.targets.importing import import_checkpoint

CONFIG = AttackConfig(
    accesses=("features", "outputs"),
    fractions=(0.3, 0.6),
    seeds=(0, 4),
    members=False,
    epochs=3,
    batch_size=16,
    views=1,
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return written_cohort(tmp_path_factory.mktemp("cohort") / "tiny")


@pytest.fixture(scope="module")
def target(cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("targets") / "siloed"
    write_target(folder, cohort, names=("site-00", "site-01", "site-02"), topology="siloed")
    return folder


@pytest.fixture(scope="module")
def attacked(cohort, target, tmp_path_factory):
    return attack_attributes(CONFIG, cohort, target, protocol="standard", work=tmp_path_factory.mktemp("work"))


def same(one, other):
    assert len(one[0].blocks) == len(other[0].blocks)
    for a, b in zip(one[0].blocks, other[0].blocks):
        assert a.key == b.key
        np.testing.assert_array_equal(a.scores, b.scores)
    pd.testing.assert_frame_equal(one[1], other[1])


def test_every_model_access_fraction_seed_and_attribute_has_a_block(attacked):
    keys = {
        (b.model, b.attack.access, b.attack.fraction, b.seed, b.attack.attribute): b.scores.shape[1]
        for b in attacked[0].blocks
    }
    assert len(keys) == len(attacked[0].blocks) == 3 * 2 * 2 * 2 * 4
    assert keys["site-02", "outputs", 0.6, 4, "site"] == 3
    assert keys["site-00", "features", 0.3, 0, "age_band"] == 4
    assert keys["site-00", "features", 0.3, 0, "age_years"] == 1


def test_the_table_says_what_was_attacked(attacked, cohort):
    table = attacked[0]
    assert (table.target, table.role, table.target_digest) == ("siloed", "target", "d" * 64)
    assert table.cohort_digest == cohort.meta.digest
    assert table.notes["protocol"] == "standard"
    assert table.notes["tensors_matched"] == "7 of 7"
    assert table.class_names["sex"] == ("F", "M")
    test = cohort.manifest[cohort.manifest["split"] == "test"]
    assert table.left_out["age_years"] == table.left_out["age_band"] == test["age_years"].isna().sum()


def test_blocks_hold_the_held_out_scans_with_a_value(attacked, cohort):
    test = cohort.manifest[(cohort.manifest["split"] == "test") & cohort.manifest["sex"].notna()]
    block = next(attacked[0].select(attribute="sex"))
    assert block.scan_ids.tolist() == test["scan_id"].tolist()
    assert block.patient_ids.tolist() == test["patient_id"].tolist()
    assert block.truth.tolist() == (test["sex"] == "M").astype(float).tolist()
    np.testing.assert_allclose(block.scores.sum(axis=1), 1, rtol=1e-5)
    years = next(attacked[0].select(attribute="age_years"))
    assert 20 < np.median(years.scores) < 90


def test_only_what_is_trained_in_epochs_has_a_curve(attacked, cohort, target, tmp_path):
    assert tuple(attacked[1].columns) == CURVE_COLUMNS
    assert attacked[1].empty
    config = replace(CONFIG, network=True, accesses=("features",), fractions=(0.3,), seeds=(0,))
    table, curves = attack_attributes(config, cohort, target, protocol="standard", work=tmp_path)
    assert tuple(curves.columns) == CURVE_COLUMNS
    assert len(curves) == len(table.blocks) * len(curve_epochs(CONFIG.epochs))
    assert set(curves[curves["attribute"] == "age_years"]["metric"]) == {"mae_years"}
    assert set(curves[curves["attribute"] != "age_years"]["metric"]) == {"f1_weighted"}
    strengths = curves[curves["metric"] == "f1_weighted"]["value"]
    assert strengths.between(0, 1).all()
    assert strengths.nunique() > 10


def test_models_are_attacked_with_their_own_weights(attacked, cohort, tmp_path):
    folder = tmp_path / "alone"
    write_target(folder, cohort, names=("skipped", "site-01"))
    record = json.loads((folder / "target.json").read_text())
    record["models"] = record["models"][1:]
    (folder / "target.json").write_text(json.dumps(record))
    config = replace(CONFIG, accesses=("features",), fractions=(0.3,))
    table, _ = attack_attributes(config, cohort, folder, protocol="standard", work=tmp_path / "work")
    for block in table.blocks:
        twin = next(
            b for b in attacked[0].blocks if b.key == (replace(block.attack, target="siloed"), block.model, block.seed)
        )
        np.testing.assert_allclose(block.scores, twin.scores, rtol=1e-3, atol=2e-3)


def test_an_interrupted_attack_goes_on_and_ends_with_the_same_bits(attacked, cohort, target, tmp_path, monkeypatch):
    answer, calls = frozen.answer, []

    def dying(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answer(*args, **kwargs)

    monkeypatch.setattr(frozen, "answer", dying)
    with pytest.raises(KeyboardInterrupt):
        attack_attributes(CONFIG, cohort, target, protocol="standard", work=tmp_path)
    same(attack_attributes(CONFIG, cohort, target, protocol="standard", work=tmp_path), attacked)
    assert len(calls) == 1 + 3 * 2 * 2 * 2  # models, accesses, fractions, seeds: what was finished is not trained again
    same(attack_attributes(CONFIG, cohort, target, protocol="standard", work=tmp_path), attacked)
    assert len(calls) == 1 + 3 * 2 * 2 * 2
    next((tmp_path / "results").glob("*.npz")).write_bytes(b"")  # as a power failure may leave it
    same(attack_attributes(CONFIG, cohort, target, protocol="standard", work=tmp_path), attacked)
    assert len(calls) == 1 + 3 * 2 * 2 * 2 + 1


def test_kill_9_while_features_are_extracted(attacked, cohort, target, tmp_path):
    code = f"""
    import os, signal
    from pathlib import Path
    from flprivacy.attacks import cache
    from flprivacy.attacks.attribute import attack_attributes
    from flprivacy.cohorts.format import open_cohort
    from flprivacy.attacks.config import AttackConfig

    save, count = cache.save_arrays, []
    def dying(path, arrays):
        save(path, arrays)
        count.append(path)
        if len(count) == 3:  # of the second model's
            os.kill(os.getpid(), signal.SIGKILL)
    cache.save_arrays = dying
    attack_attributes({CONFIG!r}, open_cohort(Path({os.fspath(cohort.folder)!r})), Path({os.fspath(target)!r}),
                      protocol="standard", work=Path({os.fspath(tmp_path)!r}))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list(tmp_path.rglob("*.npz"))) == 3
    same(attack_attributes(CONFIG, cohort, target, protocol="standard", work=tmp_path), attacked)


def test_a_cohort_of_another_shape_is_refused(target, tmp_path):
    other = written_cohort(tmp_path / "other", scans=24, shape=(8, 40, 32))
    with pytest.raises(AttackError, match=r"'siloed' takes volumes of shape \(8, 32, 40\), cohort .* \(8, 40, 32\)"):
        attack_attributes(CONFIG, other, target, protocol="standard", work=tmp_path / "work")


def test_a_single_class_attribute_is_refused_before_any_work(target, cohort, tmp_path):
    table = manifest()
    table["sex"] = "F"
    alike = bare_cohort(table)
    with pytest.raises(AttackError, match="attribute sex"):
        attack_attributes(CONFIG, alike, target, protocol="standard", work=tmp_path / "work")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("role", ["target", "baseline"])
def test_a_model_that_sees_nothing_in_the_scans_is_not_cleared(cohort, tmp_path, role):
    scan = keras.Input((*cohort.meta.shape, 1))
    dead = layers.Dense(4, activation="relu", bias_initializer=keras.initializers.Constant(-1e4), name="embedding")
    x = dead(layers.GlobalAveragePooling3D()(scan))
    keras.Model(scan, layers.Dense(3, activation="softmax")(x)).save(tmp_path / "dead.keras")
    source = TargetSource(location="dead.keras", feature_layer="embedding", role=role)
    import_checkpoint(source, tmp_path / "dead.keras", name="dead", out=tmp_path / "dead")
    with pytest.raises(AttackError, match=r"dead, model: its features are the same for every scan .*input_range, axes"):
        attack_attributes(CONFIG, cohort, tmp_path / "dead", protocol="standard", work=tmp_path / "work")
