"""Parallel transfer: verified bytes or a clear error; an interrupted call goes on from what is verified."""

import shutil
from pathlib import Path

import pytest
from storage_examples import QUICK, one_line, sha256, some_bytes

from flprivacy.core.errors import StorageError
from flprivacy.core.retry import RetryConfig
from flprivacy.storage.backends.contract import ChangedObjectError
from flprivacy.storage.config import StorageConfig
from flprivacy.storage.fetch import fetch
from flprivacy.storage.objects import ObjectStore, open_objects
from flprivacy.storage.ranges import Block
from flprivacy.storage.transfer import download, fetch_files
from tests.services.scripted_s3 import Script, ScriptedS3

_SIZE, _ROWS = 5_000, 40
_URI = "s3://b/shard.npy"


@pytest.fixture
def data(scripted: ScriptedS3) -> bytes:
    data = some_bytes(_SIZE * _ROWS)
    scripted.objects["b"] = {"shard.npy": data}
    return data


def _store() -> ObjectStore:
    return open_objects(_URI)


def _blocks(store: ObjectStore, data: bytes, folder: Path, rows: range) -> list[Block]:
    stat = store.stat(_URI)
    return [
        Block(
            source=stat,
            start=row * _SIZE,
            size=_SIZE,
            path=folder / "shard",
            offset=place * _SIZE,
            checksum=sha256(data[row * _SIZE : (row + 1) * _SIZE]),
            label=f"volume {row}",
        )
        for place, row in enumerate(rows)
    ]


def _expected(data: bytes, rows: range) -> bytes:
    return b"".join(data[row * _SIZE : (row + 1) * _SIZE] for row in rows)


def test_only_what_is_wanted_is_moved(scripted: ScriptedS3, data: bytes, tmp_path: Path) -> None:
    store, rows = _store(), range(1, _ROWS, 3)
    moved = fetch(store, _blocks(store, data, tmp_path, rows), description="test")
    assert (tmp_path / "shard").read_bytes() == _expected(data, rows)
    assert moved.moved_bytes == scripted.sent["shard.npy"] <= 1.05 * len(rows) * _SIZE
    assert (moved.wanted_bytes, moved.found_bytes) == (len(rows) * _SIZE, 0)


def test_what_is_verified_on_disk_is_not_fetched_again(scripted: ScriptedS3, data: bytes, tmp_path: Path) -> None:
    store, rows = _store(), range(0, _ROWS, 2)
    blocks = _blocks(store, data, tmp_path, rows)
    fetch(store, blocks, description="test")
    scripted.sent.clear()
    with (tmp_path / "shard").open("r+b") as stream:  # as a torn write would leave it
        stream.seek(3 * _SIZE + 17)
        stream.write(b"\0\0\0\0\0\0\0\0")
    moved = fetch(store, blocks, description="test")
    assert (tmp_path / "shard").read_bytes() == _expected(data, rows)
    assert (moved.found_bytes, moved.moved_bytes) == ((len(rows) - 1) * _SIZE, _SIZE)
    assert scripted.sent["shard.npy"] == _SIZE


def test_after_a_broken_connection_it_goes_on_with_the_first_unfinished_block(
    scripted: ScriptedS3, data: bytes, tmp_path: Path
) -> None:
    store = _store()
    blocks = _blocks(store, data, tmp_path, range(_ROWS))
    scripted.script = Script(seed=1, rate=1.0, faults=("reset", "closed early"), most=3)
    moved = fetch(store, blocks, description="test")
    assert (tmp_path / "shard").read_bytes() == data
    assert sum(scripted.injected.values()) == 3
    assert moved.moved_bytes < len(data) + 4 * _SIZE


def test_a_byte_damaged_on_the_way_is_fetched_again(scripted: ScriptedS3, data: bytes, tmp_path: Path) -> None:
    store = _store()
    blocks = _blocks(store, data, tmp_path, range(_ROWS))
    scripted.script = Script(rate=1.0, faults=("corrupt",), most=2)
    fetch(store, blocks, description="test")
    assert (tmp_path / "shard").read_bytes() == data
    assert scripted.injected["corrupt"] == 2


def test_an_object_that_stays_damaged_is_refused(scripted: ScriptedS3, data: bytes, tmp_path: Path) -> None:
    store = _store()
    blocks = _blocks(store, data, tmp_path, range(_ROWS))
    scripted.script = Script(rate=1.0, faults=("corrupt",))
    with pytest.raises(StorageError) as caught:
        fetch(store, blocks, description="test")
    one_line(caught.value, _URI, "volume", "after 3 reads", "restore it from a copy")


@pytest.mark.parametrize("same_size", [True, False])
def test_an_object_that_changes_after_the_look_is_refused(
    scripted: ScriptedS3, data: bytes, tmp_path: Path, same_size: bool
) -> None:
    store = _store()
    blocks = _blocks(store, data, tmp_path, range(_ROWS))
    scripted.objects["b"]["shard.npy"] = some_bytes(len(data) - (0 if same_size else 1), seed=9)
    with pytest.raises(ChangedObjectError) as caught:
        fetch(store, blocks, description="test")
    one_line(caught.value, _URI, "changed", "run again")


def test_a_full_disk_is_told_before_anything_moves(
    scripted: ScriptedS3, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _store()
    blocks = _blocks(store, data, tmp_path, range(_ROWS))
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("flprivacy.storage.fetch.shutil.disk_usage", lambda folder: full)
    with pytest.raises(StorageError) as caught:
        fetch(store, blocks, description="test")
    one_line(caught.value, "200000 bytes are to come and 1000 are free")
    assert not scripted.sent


def test_the_first_error_stops_the_other_parts(scripted: ScriptedS3, data: bytes) -> None:
    store = open_objects(_URI, StorageConfig(threads=2, retry=RetryConfig(first_delay_seconds=60.0)))
    stat = store.stat(_URI)
    scripted.script = Script(rate=1.0, faults=("503",))

    def part(number: int) -> None:
        if number == 1:
            raise StorageError("no; ask")
        store.read(stat, 0, 10)

    with pytest.raises(StorageError, match="no; ask"):
        store.in_parallel(part, range(50))
    scripted.script = Script()
    assert store.read(stat, 0, 10) == data[:10]  # the store is of use again


def test_whole_objects_are_compared_with_what_the_storage_tells(
    scripted: ScriptedS3, data: bytes, tmp_path: Path
) -> None:
    scripted.script = Script(seed=4, rate=1.0, faults=("corrupt",), most=1)
    download(_URI, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    scripted.script = Script(seed=4, rate=1.0, faults=("corrupt",))
    with pytest.raises(StorageError) as caught:
        download(_URI, tmp_path / "other")
    one_line(caught.value, _URI, "not those of its checksum, twice", "restore it from a copy")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy"]


def test_an_interrupted_download_goes_on_from_its_finished_parts(
    scripted: ScriptedS3, data: bytes, tmp_path: Path
) -> None:
    config = StorageConfig(part_bytes=20_000, read_bytes=20_000, threads=1, retry=RetryConfig(attempts=1))
    store = open_objects(_URI, config)
    stats = {"a/shard": store.stat(_URI)}
    seen: list[str] = []

    def hang_up_later(key: str) -> None:
        seen.append(key)
        if len(seen) == 5:
            scripted.script = Script(rate=1.0, faults=("reset",))

    scripted.before_read = hang_up_later
    with pytest.raises(StorageError, match="gave up after 1 tries"):
        fetch_files(store, stats, tmp_path / "work", description="test")
    scripted.before_read, scripted.script = None, Script()
    with (tmp_path / "work" / ".parts.jsonl").open("a") as stream:
        stream.write('\n["cut o')
    scripted.sent.clear()
    moved = fetch_files(store, stats, tmp_path / "work", description="test")
    assert (tmp_path / "work" / "a" / "shard").read_bytes() == data
    assert moved.found_bytes == 80_000
    assert scripted.sent["shard.npy"] == len(data) - 80_000


def test_parts_of_an_older_version_are_not_kept(scripted: ScriptedS3, data: bytes, tmp_path: Path) -> None:
    store = open_objects(_URI, QUICK)
    fetch_files(store, {"x": store.stat(_URI)}, tmp_path, description="test")
    scripted.objects["b"]["shard.npy"] = newer = some_bytes(len(data), seed=5)
    moved = fetch_files(store, {"x": store.stat(_URI)}, tmp_path, description="test")
    assert (tmp_path / "x").read_bytes() == newer
    assert moved.found_bytes == 0
