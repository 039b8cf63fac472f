"""The one interface over files, S3 (Ceph's gateway) and Google Cloud Storage (its emulator), and what files add."""

import os
import sys
from pathlib import Path

import pytest
from storage_examples import one_line, some_bytes, written

from flprivacy.core.errors import StorageError
from flprivacy.core.extras import MissingExtraError
from flprivacy.storage.backends.contract import ChangedObjectError, MissingObjectError
from flprivacy.storage.objects import open_objects
from flprivacy.storage.transfer import download, upload_files


def test_upload_stat_list_read_download(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large, odd = (12 << 20) + 12345, "a b/é+%20#?.bin"  # three parts of S3
    if not uri.startswith("s3:"):
        monkeypatch.setenv("FLPRIVACY_STORAGE_PART_BYTES", str(1 << 20))
        large = 2_500_000
    if uri.startswith("file:"):
        odd = odd.replace("%20", "")  # of the three kinds, file:// alone has %-signs that mean something
    names = {"a b/empty": 0, "a b/large": large, "a b/z": 5, odd: 1000}
    for seed, (name, size) in enumerate(names.items()):
        written(tmp_path / name, size, seed)
    assert upload_files({name: tmp_path / name for name in names}, uri, last="a b/z") == sum(names.values())
    store = open_objects(uri)
    assert [(f"a b/{name}", stat.size) for name, stat in store.contents(f"{uri}/a b").items()] == list(names.items())
    assert store.contents(f"{uri}/a") == store.contents(f"{uri}/none") == {}
    for seed, (name, size) in enumerate(names.items()):
        data, stat = some_bytes(size, seed), store.stat(f"{uri}/{name}")
        assert uri.startswith("file:") or stat.checksum.startswith("sha256:")
        assert store.find(f"{uri}/{name}") == stat
        assert store.read(stat, size // 3, size) == data[size // 3 :]
        assert store.read_whole(stat, most=large) == data
        download(f"{uri}/{name}", tmp_path / "to" / "copy")
        assert (tmp_path / "to" / "copy").read_bytes() == data
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["copy"]
    with pytest.raises(StorageError, match="at most 10 can be right"):
        store.read_whole(store.stat(f"{uri}/a b/large"), most=10)
    assert [store.find(f"{uri}/{name}") for name in ("a b", "none", "a b/z/none")] == [None] * 3


def test_publishing_again_sends_nothing_and_never_replaces(uri: str, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("a", "b", "last")}
    for seed, path in enumerate(files.values()):
        written(path, 2000, seed)
    open_objects(uri).upload(tmp_path / "a", f"{uri}/a")
    (tmp_path / "b").rename(tmp_path / "hidden")
    with pytest.raises(StorageError, match="cannot be read"):
        upload_files(files, uri, last="last")
    assert open_objects(uri).find(f"{uri}/last") is None
    (tmp_path / "hidden").rename(tmp_path / "b")
    sent_again = 2000 if uri.startswith("file") else 0  # files have no checksum to compare with
    assert upload_files(files, uri, last="last") == 4000 + sent_again
    if not sent_again:
        assert upload_files(files, uri, last="last") == 0
    written(tmp_path / "a", 2000, seed=7)
    with pytest.raises(StorageError) as caught:
        upload_files(files, uri, last="last")
    one_line(caught.value, uri, "holds another last already", "give a new URI")


def test_what_is_missing_is_one_line(uri: str, tmp_path: Path) -> None:
    missing = f"{uri}/none"
    with pytest.raises(MissingObjectError) as caught:
        download(missing, tmp_path / "out")
    one_line(caught.value, missing, "no such", "check the")
    assert not (tmp_path / "out").exists()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingObjectError, match="folder or a device"):
        open_objects(str(tmp_path)).stat(str(tmp_path))


def test_the_version_of_a_file_changes_with_its_content(tmp_path: Path) -> None:
    path = written(tmp_path / "file", 100)
    store = open_objects(str(path))
    before = store.stat(str(path))
    assert store.stat(str(path)) == before
    path.write_bytes(some_bytes(100, seed=1))
    os.utime(path, ns=(1, 2))
    assert store.stat(str(path)).version != before.version
    with pytest.raises(ChangedObjectError) as caught:
        store.read(before, 0, 100)
    one_line(caught.value, str(path), "run again")


def test_a_file_that_shrinks_or_goes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "file", 3 << 20)
    store = open_objects(str(path))
    stat = store.stat(str(path))
    chunks = store.read_once(stat, 0, 3 << 20)
    next(chunks)
    with path.open("r+b") as stream:
        stream.truncate(1 << 20)
    with pytest.raises(ChangedObjectError):
        list(chunks)
    path.unlink()
    with pytest.raises(ChangedObjectError, match="was removed while it was being read"):
        store.read(stat, 0, 10)


@pytest.mark.parametrize(("uri", "module", "library"), [("s3://b", "s3", "botocore"), ("gs://b", "gcs", "google.auth")])
def test_a_missing_sdk_names_its_extra(uri: str, module: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, f"flprivacy.storage.backends.{module}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=r"the extra 'storage': pip install"):
        open_objects(uri)
