"""Files through the one interface."""

import os
from pathlib import Path

import pytest
from storage_examples import one_line, some_bytes, written

from flprivacy.core.errors import StorageError
from flprivacy.storage.files import download, upload_files
from flprivacy.storage.object_store import open_objects
from flprivacy.storage.objects import ChangedObjectError, MissingObjectError


def test_stat_exists_list_and_ranges(tmp_path: Path) -> None:
    for name in ("b.bin", "a/x y.bin", "a/é.bin"):
        written(tmp_path / name, 3_000_000)
    store = open_objects(str(tmp_path))
    assert [s.uri.removeprefix(f"{tmp_path}/") for s in store.list(str(tmp_path))] == ["a/x y.bin", "a/é.bin", "b.bin"]
    assert store.list(f"file://{tmp_path}/none") == []
    stat = store.stat(str(tmp_path / "b.bin"))
    assert stat.size == 3_000_000
    assert b"".join(store.read(stat, 17, 2_500_000)) == some_bytes(3_000_000)[17:2_500_000]
    assert store.read_bytes(stat, most=3_000_000) == some_bytes(3_000_000)
    with pytest.raises(StorageError, match="at most 10 can be right"):
        store.read_bytes(stat, most=10)
    assert store.exists(str(tmp_path / "b.bin"))
    assert not store.exists(str(tmp_path / "a"))
    assert not store.exists(str(tmp_path / "b.bin" / "c"))


def test_the_version_changes_with_the_content(tmp_path: Path) -> None:
    path = written(tmp_path / "file", 100)
    store = open_objects(str(path))
    before = store.stat(str(path))
    assert store.stat(str(path)) == before
    path.write_bytes(some_bytes(100, seed=1))
    os.utime(path, ns=(1, 2))
    assert store.stat(str(path)).version != before.version
    with pytest.raises(ChangedObjectError) as caught:
        list(store.read(before, 0, 100))
    one_line(caught.value, str(path), "run again")


def test_a_file_that_shrinks_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "file", 3 << 20)
    store = open_objects(str(path))
    chunks = store.read(store.stat(str(path)), 0, 3 << 20)
    next(chunks)
    with path.open("r+b") as stream:
        stream.truncate(1 << 20)
    with pytest.raises(ChangedObjectError):
        list(chunks)


def test_download_and_upload(tmp_path: Path) -> None:
    path = written(tmp_path / "from" / "file", 3_000_000)
    written(tmp_path / "from" / "empty", 0)
    download(f"file://{path}", tmp_path / "to" / "copy")
    assert (tmp_path / "to" / "copy").read_bytes() == path.read_bytes()
    assert [p.name for p in (tmp_path / "to").iterdir()] == ["copy"]
    assert upload_files(tmp_path / "from", ["file", "empty"], str(tmp_path / "up"), last="empty") == 3_000_000
    assert (tmp_path / "up" / "file").read_bytes() == path.read_bytes()
    assert (tmp_path / "up" / "empty").read_bytes() == b""


def test_what_is_missing_or_forbidden_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingObjectError) as caught:
        download(str(tmp_path / "none"), tmp_path / "out")
    one_line(caught.value, "none", "check the path")
    assert not (tmp_path / "out").exists()
    with pytest.raises(MissingObjectError, match="folder or a device"):
        open_objects(str(tmp_path)).stat(str(tmp_path))
