import json
import shutil
import subprocess
import sys
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

from flprivacy.core.digests import digest_file
from flprivacy.core.errors import TargetError
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import write_json
from flprivacy.core.target import ModelRecord, TargetRecord, Utility
from flprivacy.models import weights
from flprivacy.models.registry import build
from flprivacy.models.weights import save_weights, weights_digest
from flprivacy.targets.digests import target_digest
from flprivacy.targets.folder import load_model, model_record, read_target, verify_target
from tests.models.architecture_examples import scans

SHAPE = (4, 16, 20)
real = weights.open_guarded
NAMES = ("site-00", "site-07")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A whole target folder of two models, with its record."""
    folder = tmp_path_factory.mktemp("target")
    models, digests = [], {}
    for seed, name in enumerate(NAMES):
        model = build("cnn3d_small", shape=SHAPE, n_classes=3, seed=seed)
        path = folder / f"{name}.weights.h5"
        save_weights(model, path)
        digests[name] = weights_digest(model)
        models.append(ModelRecord(name=name, weights=path.name, sha256=digest_file(path), n_train=10 + seed))
    training = {"topology": "siloed", "learning_rate": 0.001}
    record = TargetRecord(
        name="siloed",
        role="target",
        topology="siloed",
        architecture="cnn3d_small",
        shape=SHAPE,
        n_classes=3,
        protocol="standard",
        digest=target_digest(weights=digests, training=training, cohort_digest="c" * 64, protocol="standard"),
        models=tuple(models),
        utility=Utility(accuracy=0.5, f1_macro=0.4, auc_ovr=None, n_scans=9),
        training=training,
        cohort_digest="c" * 64,
    )
    write_json(folder / "target.json", to_mapping(record))
    return folder, record


@pytest.fixture
def target(template, tmp_path):
    """A copy to damage."""
    folder, record = template
    return shutil.copytree(folder, tmp_path / "target"), record


def change(folder, **fields):
    """Change fields of target.json by hand."""
    record = json.loads((folder / "target.json").read_text())
    (folder / "target.json").write_text(json.dumps(record | fields))


def change_model(folder, **fields):
    models = json.loads((folder / "target.json").read_text())["models"]
    change(folder, models=[models[0] | fields, *models[1:]])


def refused(call, match):
    with pytest.raises(TargetError, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert "target" in str(caught.value)


def test_what_was_written_is_read_and_verified(target):
    folder, record = target
    assert read_target(folder) == record
    assert verify_target(folder) == record


def test_each_model_has_its_own_weights(target):
    folder, record = target
    x = scans(SHAPE)
    for seed, name in enumerate(NAMES):
        loaded = load_model(folder, record, name)
        expected = build("cnn3d_small", shape=SHAPE, n_classes=3, seed=seed)
        np.testing.assert_array_equal(np.asarray(loaded.model(x)), np.asarray(expected.model(x)))
        assert model_record(record, name).n_train == 10 + seed


def test_reading_a_record_imports_no_keras(target):
    folder, _ = target
    code = (
        "import sys; from pathlib import Path; from flprivacy.targets.folder import verify_target; "
        f"verify_target(Path({str(folder)!r})); sys.exit('keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_record_is_refused(tmp_path):
    refused(lambda: read_target(tmp_path / "target"), "target.json: no such file; give the folder of a target")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"name": "siloed"}'])
def test_a_record_that_is_none_is_refused(target, content):
    folder, _ = target
    (folder / "target.json").write_bytes(content)
    refused(lambda: read_target(folder), "target.json: not a target's record .*; mend it, or train the target again")


def test_a_record_of_a_later_version_is_refused(target):
    folder, _ = target
    change(folder, schema_version=2, something_new=1)
    refused(lambda: read_target(folder), "schema_version is 2; this version reads 1; upgrade flprivacy")


def test_a_huge_record_is_refused_unread(target):
    folder, _ = target
    with (folder / "target.json").open("ab") as stream:
        stream.truncate((1 << 24) + 1)
    refused(lambda: read_target(folder), "target.json: larger than 16777216 bytes")


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("role", "victim", "role is 'victim'; must be one of target, baseline"),
        ("models", [], r"models is \[\]; needs at least one"),
        ("shape", [4, 0, 20], r"shape is \(4, 0, 20\); must be positive"),
        ("shape", [4, 5, 70_000], r"shape is \(4, 5, 70000\); must be positive, and at most 65535"),
        ("n_classes", 1, "n_classes is 1; must be at least 2"),
        ("n_classes", 10**9, "n_classes is 1000000000; must be at least 2, at most 4096"),
        ("n_classes", "three", "n_classes: expected int, got 'three'"),
        ("colour", "blue", "unknown field 'colour'"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(target, field, value, match):
    folder, _ = target
    change(folder, **{field: value})
    refused(lambda: read_target(folder), match)


def test_two_models_of_one_name_are_refused(target):
    folder, _ = target
    change_model(folder, name=NAMES[1])
    refused(lambda: read_target(folder), "needs at least one, each of its own name")


def test_one_file_for_many_models_is_refused(target):
    folder, _ = target
    change_model(folder, weights=f"{NAMES[1]}.weights.h5")
    refused(lambda: read_target(folder), "weights is .*; each model needs a file of its own")


@pytest.mark.parametrize("name", ["../outside.weights.h5", "/etc/hostname", "sub/m.weights.h5", "..", ".", ""])
def test_a_file_outside_the_folder_is_refused(target, name):
    folder, record = target
    (folder.parent / "outside.weights.h5").write_bytes((folder / "site-00.weights.h5").read_bytes())
    change_model(folder, weights=name)
    refused(
        lambda: read_target(folder), "target.json: names the file .*; give the bare name of a file in the same folder"
    )
    foreign = replace(record, models=(replace(record.models[0], weights=name),))
    refused(lambda: load_model(folder, foreign, NAMES[0]), "give the bare name of a file in the same folder")


def test_a_link_out_of_the_folder_is_refused(target):
    folder, _ = target
    path = folder / "site-00.weights.h5"
    path.rename(folder.parent / "outside.weights.h5")
    path.symlink_to(folder.parent / "outside.weights.h5")
    refused(lambda: read_target(folder), "named in target.json but no regular file")


def test_a_missing_file_is_refused(target):
    folder, _ = target
    (folder / "site-07.weights.h5").unlink()
    refused(
        lambda: read_target(folder),
        "site-07.weights.h5: named in target.json but no regular file; copy the whole target",
    )


def test_changed_weights_are_refused(target):
    folder, _ = target
    path = folder / "site-07.weights.h5"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    refused(lambda: read_target(folder), r"site-07\.weights\.h5: SHA-256 differs from the one in target.json")


def test_other_weights_under_an_old_digest_are_not_verified(target):
    """Somebody swaps the weights and mends the hash, but not the digest that caches key on."""
    folder, _ = target
    path = folder / "site-00.weights.h5"
    save_weights(build("cnn3d_small", shape=SHAPE, n_classes=3, seed=9), path)
    change_model(folder, sha256=digest_file(path))
    read_target(folder)
    refused(lambda: verify_target(folder), "digest is '.*', but weights and training give [0-9a-f]{64}")


def test_weights_under_their_true_hash_are_walked_through_before_they_are_opened(target, monkeypatch):
    """A folder of somebody else's may hold a hostile file and its hash."""
    folder, _ = target
    walked, opened = [], []
    monkeypatch.setattr(weights, "vet", lambda path, *, remedy: walked.append(path))
    monkeypatch.setattr(weights, "open_guarded", lambda path, **facts: opened.append(path) or real(path, **facts))
    verify_target(folder)
    assert walked == opened == [folder / f"{name}.weights.h5" for name in NAMES]
    monkeypatch.setattr(weights, "vet", Mock(side_effect=TargetError(f"{folder}: target of a stranger")))
    refused(lambda: verify_target(folder), "of a stranger")
    assert len(opened) == len(NAMES)


@pytest.mark.parametrize("field", ["training", "cohort_digest", "protocol"])
def test_another_training_is_another_digest(target, field):
    folder, _ = target
    change(folder, **{field: {"seed": 1} if field == "training" else "flprivacy-2023"})
    refused(lambda: verify_target(folder), "weights and training give")


def test_an_unknown_model_is_refused(target):
    folder, record = target
    refused(lambda: load_model(folder, record, "site-03"), "'siloed' has no model 'site-03'; it has site-00, site-07")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"architecture": "resnet"}, "target.json: architecture is 'resnet'; must be one of"),
        ({"shape": (4, 8, 8)}, r"target.json: shape is \(4, 8, 8\); cnn3d_small needs"),
        ({"architecture": "cnn3d"}, r"site-00.weights.h5: weights of cnn3d_small .* do not fit cnn3d .*of 31 tensors"),
        ({"n_classes": 2}, "20 of 22 tensors match"),
    ],
)
def test_weights_that_do_not_fit_the_record_are_refused(target, fields, match):
    folder, record = target
    refused(lambda: load_model(folder, replace(record, **fields), NAMES[0]), match)
