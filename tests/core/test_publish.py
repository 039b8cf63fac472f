"""A file or folder is whole or absent."""

import json
from pathlib import Path

import pytest

from flprivacy.core.errors import StorageError
from flprivacy.core.publish import publish_file, publish_folder, write_json


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    for text in ("old", "new"):
        with publish_folder(out) as partial:
            (partial / "f").write_text(text)
            assert not (out / "g").exists()
    assert [p.name for p in out.iterdir()] == ["f"]
    assert (out / "f").read_text() == "new"
    assert [p.name for p in out.parent.iterdir()] == ["b"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_nothing_behind(tmp_path: Path, failure: type[BaseException]) -> None:
    def fail_in_folder() -> None:
        with publish_folder(tmp_path / "folder") as partial:
            (partial / "f").write_text("half")
            raise failure

    def fail_in_file() -> None:
        with publish_file(tmp_path / "file") as partial:
            partial.write_text("half")
            raise failure

    for action in (fail_in_folder, fail_in_file):
        with pytest.raises(failure):
            action()
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"b": 1, "a": [1.5]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"b": 1, "a": [1.5]}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match=r"file/sub: cannot create this folder .*choose a folder"),
        publish_folder(tmp_path / "file" / "sub" / "x"),
    ):
        pytest.fail("the block must not run")
