"""Pulling a target: only its own files, verified, and again only when something changed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from flprivacy.core.digests import digest_file
from flprivacy.core.errors import ConfigError, FlprivacyError, StorageError, TargetError
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import write_json
from flprivacy.core.target import ModelRecord, TargetRecord
from flprivacy.core.target_source import parse_source
from flprivacy.models.weights import TensorHeader, tensors_digest, write_tensors
from flprivacy.study.given_targets import pull_target
from flprivacy.study.plan import Plan
from flprivacy.targets.digests import target_digest
from flprivacy.targets.folder import read_target
from flprivacy.targets.given import given_record
from flprivacy.targets.push import push_target
from tests.audit_plan import audit_plan
from tests.services.scripted_s3 import ScriptedS3
from tests.steps.source_examples import serve

_URI = "s3://bucket/models/mine"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A target of two models, without the price of building networks."""
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "home"))
    folder = tmp_path / "target"
    folder.mkdir()
    models, digests = [], {}
    for seed, name in enumerate(("site-00", "site-01")):
        path = folder / f"{name}.weights.h5"
        tensors = {"conv/kernel": np.random.default_rng(seed).normal(size=(3, 4, 5)).astype(np.float32)}
        write_tensors(path, TensorHeader(architecture="cnn3d_small", shape=(8, 32, 40), n_classes=2), tensors)
        digests[name] = tensors_digest(tensors)
        models.append(ModelRecord(name=name, weights=path.name, sha256=digest_file(path), n_train=10))
    record = TargetRecord(
        name="siloed",
        role="target",
        topology="siloed",
        architecture="cnn3d_small",
        shape=(8, 32, 40),
        n_classes=2,
        protocol="standard",
        digest=target_digest(weights=digests, training={}, cohort_digest="", protocol="standard"),
        models=tuple(models),
    )
    write_json(folder / "target.json", to_mapping(record))
    (folder / "notes.txt").write_text("not part of the target")
    return folder


def _pull(out: Path, uri: str = _URI) -> TargetRecord:
    run = Plan.read(audit_plan(out.with_suffix(".json"), sources={"mine": uri}))
    pull_target(run, "mine", out, store="")
    return read_target(out)


def test_it_is_whole_verified_and_has_its_new_name(scripted: ScriptedS3, folder: Path, tmp_path: Path) -> None:
    serve(scripted, folder, prefix="models/mine")
    record = _pull(tmp_path / "out")
    assert (record.name, read_target(tmp_path / "out")) == ("mine", record)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in folder.iterdir()} - {
        "notes.txt"
    }
    for path in folder.glob("*.h5"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_the_record_comes_without_the_weights(scripted: ScriptedS3, folder: Path) -> None:
    serve(scripted, folder, prefix="models/mine")
    assert given_record(parse_source(_URI)) == given_record(parse_source(str(folder))) == read_target(folder)
    assert set(scripted.sent) == {"models/mine/target.json"}


def test_weights_move_again_only_when_something_changed(scripted: ScriptedS3, folder: Path, tmp_path: Path) -> None:
    serve(scripted, folder, prefix="models/mine")
    _pull(tmp_path / "out")
    scripted.sent.clear()
    assert _pull(tmp_path / "again").name == "mine"
    assert set(scripted.sent) == {"models/mine/target.json"}
    scripted.objects["bucket"]["models/mine/target.json"] += b"\n"
    _pull(tmp_path / "changed")
    assert len(scripted.sent) == 3


def test_publish_and_pull_on_a_real_server(bucket: str, folder: Path, tmp_path: Path) -> None:
    assert push_target(folder=folder, uri=f"{bucket}/mine").bytes_sent > 0
    assert push_target(folder=folder, uri=f"{bucket}/mine").bytes_sent == 0
    assert _pull(tmp_path / "out", f"{bucket}/mine/").name == "mine"


def test_local_targets_are_checked_as_before(folder: Path, tmp_path: Path) -> None:
    assert _pull(tmp_path / "out", f"file://{folder}").name == "mine"
    plan = audit_plan(tmp_path / "plan.json", sources={"mine": str(folder)})
    with pytest.raises(ConfigError, match="not among the given ones: mine"):
        pull_target(Plan.read(plan), "other", tmp_path / "x", store="")


def _changed(**fields: object):  # type: ignore[no-untyped-def]
    def change(folder: Path) -> None:
        record = json.loads((folder / "target.json").read_text())
        (folder / "target.json").write_text(json.dumps(record | fields))

    return change


def _changed_model(**fields: object):  # type: ignore[no-untyped-def]
    def change(folder: Path) -> None:
        record = json.loads((folder / "target.json").read_text())
        record["models"][0] |= fields
        (folder / "target.json").write_text(json.dumps(record))

    return change


def _damaged(folder: Path) -> None:
    path = folder / "site-01.weights.h5"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _removed(folder: Path) -> None:
    (folder / "site-01.weights.h5").unlink()


@pytest.mark.parametrize(
    ("attack", "error", "words"),
    [
        (_changed_model(weights="../../../etc/passwd"), StorageError, "leaves its folder"),
        (_changed_model(weights="/etc/passwd"), StorageError, "leaves its folder"),
        (_changed_model(weights="sub/site.h5"), StorageError, "no such object"),
        (_changed(digest="0" * 64), TargetError, "the record was changed"),
        (_changed(surprise=1), TargetError, "unknown field 'surprise'"),
        (lambda folder: (folder / "target.json").write_text("[" * 100_000), TargetError, "not a target's record"),
        (lambda folder: (folder / "target.json").write_bytes(b" " * (1 << 25)), TargetError, "which no record has"),
        (_damaged, TargetError, "SHA-256 differs"),
        (_removed, StorageError, "no such object"),
    ],
)
def test_hostile_or_damaged_targets_are_refused_by_their_uri(
    scripted: ScriptedS3,
    folder: Path,
    tmp_path: Path,
    attack,  # type: ignore[no-untyped-def]
    error: type[FlprivacyError],
    words: str,
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(folder, bad)
    attack(bad)
    serve(scripted, bad, prefix="bad")
    with pytest.raises(error) as caught:
        _pull(tmp_path / "out", "s3://bucket/bad")
    text = str(caught.value)
    assert words in text
    assert text.startswith("s3://bucket/bad")
    assert "\n" not in text
    assert not (tmp_path / "out").exists()
