"""The mirror: whole snapshots while files are replaced as fast as they can be, sent once, in bounded time and room."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from remote_examples import checkpoint
from storage_examples import QUICK

from flprivacy.core.checkpoint_events import announce
from flprivacy.core.errors import StorageError
from flprivacy.storage.checkpoint_mirror import Mirror, mirroring
from flprivacy.storage.checkpoints import RemoteCheckpoints
from flprivacy.storage.inventory import Content
from flprivacy.storage.objects import open_objects

KEY = "0" * 64


@pytest.fixture
def place(tmp_path: Path) -> str:
    return f"file://{tmp_path}/remote"


def checkpoints(place: str) -> RemoteCheckpoints:
    return RemoteCheckpoints(store=open_objects(place, QUICK), uri=place, kind="target", key=KEY)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the last copy however busy the machine is."""
    monkeypatch.setattr("flprivacy.storage.checkpoint_mirror._GRACE_SECONDS", 60.0)


def mirror(place: str, disk: Path, *, interval_seconds: float = 0.0) -> Mirror:
    (disk / "work").mkdir(parents=True, exist_ok=True)
    return Mirror(
        checkpoints(place),
        disk / "work",
        notes=disk / "notes",
        restored=None,
        number=0,
        interval_seconds=interval_seconds,
    )


def restored(place: str, disk: Path) -> dict[str, str] | None:
    """Return the files of the newest snapshot, or None where there is none."""
    folder = disk / "restored"
    if checkpoints(place).restore(folder, newer_than=0, scratch=disk / "scratch") is None:
        return None
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


class BrokenOffError(Exception):
    """What ends a work early here."""


@contextmanager
def broken_off(mirror: Mirror) -> Iterator[None]:
    """A work that is ended by an exception after what the block does."""
    with suppress(BrokenOffError), mirroring(mirror):
        yield
        raise BrokenOffError


def test_every_snapshot_is_a_state_that_was_announced(place: str, tmp_path: Path) -> None:
    """File ``first`` is written before ``second`` in each round, large enough to be caught half-sent."""
    rounds, seen = 100, []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(restored(place, tmp_path / "reader"))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        with broken_off(mirror(place, tmp_path)):
            for number in range(rounds):
                for name in ("first", "second"):
                    checkpoint(tmp_path / "work" / name, f"{number} " * 20_000)
    finally:
        done.set()
        reader.join()
    last = f"{rounds - 1} " * 20_000
    assert restored(place, tmp_path / "reader") == {"first": last, "second": last}
    for files in filter(None, seen):
        numbers = {name: set(text.split()) for name, text in files.items()}
        assert all(len(found) == 1 for found in numbers.values())
        first, second = (int(min(numbers.get(name, {"-1"}))) for name in ("first", "second"))
        assert first - 1 <= second <= first
    assert (
        len(open_objects(place, QUICK).contents(place)) == 2
    )  # one snapshot, and its one content: both files hold the same


def test_what_did_not_change_is_not_sent_again(place: str, tmp_path: Path) -> None:
    with broken_off(mirror(place, tmp_path)):
        checkpoint(tmp_path / "work" / "large", "same")
        checkpoint(tmp_path / "work" / "small", "one")
    before = {path.name: path.stat().st_ino for path in (tmp_path / "remote" / "blobs").iterdir()}
    again = tmp_path / "again"
    snapshot = checkpoints(place).restore(again / "work", newer_than=0, scratch=again / "scratch")
    assert snapshot is not None
    carried_on = Mirror(
        checkpoints(place),
        again / "work",
        notes=again / "notes",
        restored=snapshot,
        number=0,
        interval_seconds=0.0,
    )
    with broken_off(carried_on):
        checkpoint(again / "work" / "small", "two")
        checkpoint(again / "work" / "copy", "same")
    after = {path.name: path.stat().st_ino for path in (tmp_path / "remote" / "blobs").iterdir()}
    assert before.items() <= after.items()  # a content sent again would be a new file
    assert len(after) == 3
    assert restored(place, tmp_path) == {"large": "same", "small": "two", "copy": "same"}


def test_replaced_checkpoints_take_no_room_while_the_network_is_away(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending, go_on = threading.Event(), threading.Event()
    keep = RemoteCheckpoints.keep

    def waiting(self: RemoteCheckpoints, *arguments: object) -> None:
        sending.set()
        go_on.wait()
        keep(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(RemoteCheckpoints, "keep", waiting)
    with broken_off(mirror(place, tmp_path)):
        checkpoint(tmp_path / "work" / "state", "0")
        sending.wait()
        for number in range(1, 50):
            checkpoint(tmp_path / "work" / "state", str(number))
        pins = list((tmp_path / "notes" / "pins").iterdir())
        go_on.set()
    assert len(pins) == 2  # what is being sent, and the latest
    assert restored(place, tmp_path) == {"state": "49"}


def test_the_last_copy_waits_no_longer_than_the_grace(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(RemoteCheckpoints, "keep", lambda *_: go_on.wait())
    monkeypatch.setattr("flprivacy.storage.checkpoint_mirror._GRACE_SECONDS", 0.05)
    with broken_off(mirror(place, tmp_path)):
        checkpoint(tmp_path / "work" / "state", "0")
    assert "could not be copied in time" in caplog.text
    go_on.set()


def test_a_finished_work_is_not_copied_any_more(place: str, tmp_path: Path) -> None:
    with mirroring(mirror(place, tmp_path, interval_seconds=3600.0)) as _:
        checkpoint(tmp_path / "work" / "state", "0")
    first = restored(place, tmp_path)
    assert first in (None, {"state": "0"})
    with mirroring(mirror(place, tmp_path / "b")):
        pass
    assert restored(place, tmp_path) == first


def test_checkpoints_of_other_works_and_after_the_end_are_left_alone(place: str, tmp_path: Path) -> None:
    with broken_off(mirror(place, tmp_path)):
        checkpoint(tmp_path / "elsewhere" / "state", "0")
    announce(tmp_path / "work" / "state")
    assert restored(place, tmp_path) is None


def test_two_writers_never_break_each_others_snapshots(place: str, tmp_path: Path) -> None:
    """Both start from nothing and write other states; whatever one sees is whole and one writer's own."""
    barrier = threading.Barrier(2)

    def write(name: str) -> None:
        # Announced straight to one mirror each: announcements are for one process, and these two are threads of one.
        one = mirror(place, tmp_path / name)
        with suppress(BrokenOffError), one:
            barrier.wait()
            for number in range(100):
                for file in ("a", "b"):
                    path = tmp_path / name / "work" / file
                    path.with_suffix(".partial").write_text(f"{name} {number} {file}")
                    path.with_suffix(".partial").replace(path)
                    one.note(path)
            raise BrokenOffError

    writers = [threading.Thread(target=write, args=(name,)) for name in ("one", "two")]
    for writer in writers:
        writer.start()
    seen = []
    while any(writer.is_alive() for writer in writers):
        seen.append(restored(place, tmp_path))
    for writer in writers:
        writer.join()
    seen.append(restored(place, tmp_path))
    for files in filter(None, seen):
        assert len({text.split()[0] for text in files.values()}) == 1
    assert seen[-1] in [{file: f"{name} 99 {file}" for file in ("a", "b")} for name in ("one", "two")]
    assert len(list((tmp_path / "remote" / "checkpoints").iterdir())) == 2


def test_a_copy_that_failed_is_tried_again_without_a_new_checkpoint(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries, stored = [], threading.Event()
    keep, commit = RemoteCheckpoints.keep, RemoteCheckpoints.commit

    def failing_once(self: RemoteCheckpoints, path: Path, content: Content) -> None:
        tries.append(path)
        if len(tries) == 1:
            raise StorageError("s3://bucket/x: is busy")
        keep(self, path, content)

    def telling(self: RemoteCheckpoints, *arguments: Any, **named: Any) -> None:
        commit(self, *arguments, **named)
        stored.set()

    monkeypatch.setattr(RemoteCheckpoints, "keep", failing_once)
    monkeypatch.setattr(RemoteCheckpoints, "commit", telling)
    monkeypatch.setattr("flprivacy.storage.checkpoint_mirror._REST_AFTER_FAILURE_SECONDS", 0.0)
    with broken_off(mirror(place, tmp_path)):
        checkpoint(tmp_path / "work" / "state", "0")
        assert stored.wait(300)
    assert "the work goes on: s3://bucket/x: is busy" in caplog.text
    assert restored(place, tmp_path) == {"state": "0"}


def test_a_disk_without_room_for_a_copy_does_not_stop_the_work(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(source: Path, destination: Path) -> None:
        raise OSError(28, "No space left on device")

    with broken_off(mirror(place, tmp_path)):
        checkpoint(tmp_path / "work" / "state", "0")
        monkeypatch.setattr("flprivacy.storage.checkpoint_mirror.link_or_copy", full)
        checkpoint(tmp_path / "work" / "state", "1")
        monkeypatch.undo()
        checkpoint(tmp_path / "work" / "what relies on it", "1")
    assert "the work goes on: [Errno 28] No space left on device" in caplog.text
    assert restored(place, tmp_path) == {"state": "0"}
