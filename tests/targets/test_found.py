"""Target folders below a place: found whatever they are called, described by their records."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from flprivacy.cli import main
from flprivacy.core.errors import ConfigError, TargetError
from flprivacy.core.parsing import to_mapping
from flprivacy.core.target import TARGET_FILE, ModelRecord, TargetRecord
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import open_store
from flprivacy.targets.listing import find_target_folders
from flprivacy.targets.push import folder_of_target


def _folder(place: Path, name: str) -> None:
    place.mkdir(parents=True)
    record = TargetRecord(
        name=name,
        digest="ab" * 32,
        role="target",
        topology="central",
        architecture="cnn3d_small",
        shape=(8, 32, 40),
        n_classes=3,
        protocol="standard",
        models=(ModelRecord(name="model", weights="model.weights.h5", sha256="ab" * 32),),
    )
    (place / TARGET_FILE).write_text(json.dumps(to_mapping(record)))


def test_every_folder_with_a_record_is_found_by_name(tmp_path: Path) -> None:
    _folder(tmp_path / "target" / "f00", "zebra")
    _folder(tmp_path / "target" / "aa" / "1", "ape")
    (tmp_path / "target" / "unfinished").mkdir()
    found = find_target_folders(str(tmp_path))
    assert [one.record.name for one in found] == ["ape", "zebra"]
    assert Path(found[0].location) == tmp_path / "target" / "aa" / "1"


def test_a_damaged_record_is_named_where_it_lies(tmp_path: Path) -> None:
    _folder(tmp_path / "a", "ape")
    (tmp_path / "a" / TARGET_FILE).write_text("{")
    with pytest.raises(TargetError, match=f"{tmp_path}/a/target.json"):
        find_target_folders(str(tmp_path))


def test_the_command_lists_what_studies_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path))
    monkeypatch.delenv("FLPRIVACY_STORE", raising=False)
    _folder(tmp_path / "store" / "target" / "0123456789", "ape")
    result = CliRunner().invoke(main, ["target", "list"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert all(word in result.output for word in ("ape", "central", "cnn3d_small", "abababababab", "0123456789"))
    assert str(tmp_path / "store" / "target") in result.output.replace("\n", "")
    empty = CliRunner().invoke(main, ["target", "list", str(tmp_path / "none")])
    assert "no target here; 'flprivacy run study' trains some" in empty.output


def test_those_of_a_cluster_are_found_in_its_store_and_published_from_there(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store behind a network keeps files by their digests: nothing in it is called target.json."""
    monkeypatch.setenv("FLPRIVACY_STORE", f"{bucket}/flprivacy")
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "pod"))
    _folder(tmp_path / "made", "ape")
    kept = open_store().build("target", {"of": "a test"}, lambda _, out: deliver(tmp_path / "made", out))
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "here"))
    (found,) = find_target_folders(bucket)
    assert (found.record.name, found.location) == ("ape", f"{bucket}/flprivacy/target/{kept.name}")
    listed = CliRunner().invoke(main, ["target", "list"], env={"COLUMNS": "200"})
    assert "ape" in listed.output
    assert kept.name in listed.output
    assert (folder_of_target(found.location) / TARGET_FILE).read_bytes() == (kept / TARGET_FILE).read_bytes()
    with pytest.raises(ConfigError, match=f"{bucket}/models: is not in the store in use; give a folder here, or one"):
        folder_of_target(f"{bucket}/models")
    with pytest.raises(TargetError, match="no finished target; 'flprivacy target list' shows those"):
        folder_of_target(f"{bucket}/flprivacy/target/{64 * 'a'}")
