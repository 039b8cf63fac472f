"""The store behind a network: made once for all machines, carried on by a new one, never half-published."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from remote_examples import OBJECT_NAME, checkpoint, counting, machine, object_names
from storage_examples import one_line

from flprivacy.core.errors import ConfigError, StorageError
from flprivacy.storage.artifact_store import Store
from flprivacy.storage.places import open_store

RESULT = Path("scans-of-jones") / "result.txt"


@pytest.fixture
def place(tmp_path: Path) -> str:
    return f"file://{tmp_path}/remote/store"


@contextlib.contextmanager
def away(place: str) -> Iterator[None]:
    """Put something that cannot be written to where the store was."""
    folder = Path(place.removeprefix("file://"))
    aside = folder.with_name("aside")
    there = folder.exists()
    if there:
        folder.rename(aside)
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("")
    try:
        yield
    finally:
        folder.unlink()
        if there:
            aside.rename(folder)


def test_a_killed_work_goes_on_elsewhere_and_is_made_once_for_all(uri: str, tmp_path: Path) -> None:
    calls: list[str] = []
    inputs = {"patient": "jones"}
    for number, stop_at in enumerate((2, 5)):
        with pytest.raises(SystemExit):
            machine(uri, tmp_path / f"{number}").build("target", inputs, counting(calls, steps=6, stop_at=stop_at))
        names = object_names(uri)
        assert len([name for name in names if "checkpoints" in name]) == number + 1  # one of each machine
        assert all(OBJECT_NAME.fullmatch(name) for name in names)
    made = machine(uri, tmp_path / "2").build("target", inputs, counting(calls, steps=6))
    assert calls == ["began at 0", "began at 2", "began at 5"]
    assert (made / RESULT).read_text() == "0 1 2 3 4 5"
    names = object_names(uri)
    assert all(OBJECT_NAME.fullmatch(name) and not name.startswith("work/") for name in names)
    assert [Path(name).name for name in names].count("artifact.json") == 1
    fetched = machine(uri, tmp_path / "3").build("target", inputs, counting(calls, steps=6))
    assert len(calls) == 3
    assert sorted(p.relative_to(fetched) for p in fetched.rglob("*")) == sorted(
        p.relative_to(made) for p in made.rglob("*")
    )
    assert (fetched / RESULT).read_bytes() == (made / RESULT).read_bytes()
    assert not list((tmp_path / "3" / "mirrors").glob("*"))


def test_restored_checkpoints_are_their_owners_alone(place: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        machine(place, tmp_path / "a").build("target", {}, counting([], steps=3, stop_at=1))
    modes = []

    def make(work: Path, out: Path) -> None:
        modes.extend(path.stat().st_mode & 0o777 for path in work.rglob("*") if path.is_file())

    machine(place, tmp_path / "b").build("target", {}, make)
    assert modes == [0o600]


def test_a_published_artifact_here_needs_no_network(place: str, tmp_path: Path) -> None:
    here = machine(place, tmp_path / "a")
    entry = here.build("audit", {}, counting([], steps=1))
    with away(place):
        assert here.build("audit", {}, counting([], steps=1)) == entry


def test_cohorts_stay_on_the_machine(place: str, tmp_path: Path) -> None:
    machine(place, tmp_path / "a").build("cohort", {}, counting([], steps=1))
    assert object_names(place) == []


def test_a_damaged_object_is_noticed_and_named(place: str, tmp_path: Path) -> None:
    machine(place, tmp_path / "a").build("target", {}, counting([], steps=3))
    folder = next(Path(place.removeprefix("file://")).glob("target/*"))
    blob = max((path for path in folder.iterdir() if len(path.name) == 64), key=lambda path: path.stat().st_size)
    blob.write_bytes(bytes(blob.stat().st_size))
    with pytest.raises(StorageError, match=f"{blob.name}: its bytes are not those of its name") as caught:
        machine(place, tmp_path / "b").build("target", {}, counting([], steps=3))
    one_line(caught.value)
    blob.unlink()
    with pytest.raises(StorageError, match="is not there in full size"):
        machine(place, tmp_path / "c").build("target", {}, counting([], steps=3))
    (folder / "artifact.json").write_text('{"format": 1, "files": {"../../x": 3}}')
    with pytest.raises(StorageError, match="no inventory of this artifact") as caught:
        machine(place, tmp_path / "d").build("target", {}, counting([], steps=3))
    one_line(caught.value)


@pytest.mark.parametrize("damage", ["content", "inventory", "missing"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(damage: str, place: str, tmp_path: Path) -> None:
    calls: list[str] = []
    for disk, stop_at in (("a", 2), ("b", 4)):
        with pytest.raises(SystemExit):
            machine(place, tmp_path / disk).build("target", {}, counting(calls, steps=5, stop_at=stop_at))
    work = next(Path(place.removeprefix("file://")).glob("work/*"))
    newest = max((work / "checkpoints").iterdir())
    blob = max((work / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    if damage == "content":
        blob.write_bytes(bytes(blob.stat().st_size))
    elif damage == "missing":
        blob.unlink()
    else:
        newest.write_text("{")
    made = machine(place, tmp_path / "c").build("target", {}, counting(calls, steps=5))
    assert calls == ["began at 0", "began at 2", "began at 2"]
    assert (made / RESULT).read_text() == "0 1 2 3 4"


def test_a_store_that_is_away_does_not_stop_the_work(
    place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []
    make = counting(calls, steps=3, stop_at=2)

    store = machine(place, tmp_path / "a")
    with contextlib.ExitStack() as stack:

        def in_an_outage(work: Path, out: Path) -> None:
            stack.enter_context(away(place))
            make(work, out)

        with pytest.raises(SystemExit):
            store.build("target", {}, in_an_outage)
    assert "a checkpoint could not be copied, the work goes on" in caplog.text
    assert object_names(place) == []
    store.build("target", {}, counting(calls, steps=3))  # the disk is still there
    assert calls == ["began at 0", "began at 2"]


def test_what_cannot_be_published_is_an_error_and_is_published_later(place: str, tmp_path: Path) -> None:
    calls: list[str] = []
    make = counting(calls, steps=2)
    store = machine(place, tmp_path / "a")
    with contextlib.ExitStack() as stack:

        def made_in_an_outage(work: Path, out: Path) -> None:
            make(work, out)
            stack.enter_context(away(place))

        with pytest.raises(StorageError):
            store.build("target", {}, made_in_an_outage)
    store.build("target", {}, make)
    assert calls == ["began at 0"]
    assert any(name.endswith("artifact.json") for name in object_names(place))


def test_the_local_work_is_carried_on_unless_another_machine_went_further(place: str, tmp_path: Path) -> None:
    calls: list[str] = []
    here = machine(place, tmp_path / "a")
    for store, stop_at in ((here, 2), (here, 3), (machine(place, tmp_path / "b"), 5)):
        with pytest.raises(SystemExit):
            store.build("target", {}, counting(calls, steps=6, stop_at=stop_at))
    here.build("target", {}, counting(calls, steps=6))
    assert calls == ["began at 0", "began at 2", "began at 3", "began at 5"]


@pytest.mark.parametrize("results", ["alike", "unlike"])
def test_two_machines_at_once_end_with_one_result(results: str, uri: str, tmp_path: Path) -> None:
    """One machine does all of its work while the other is in the middle of the same."""

    def maker(name: str, meanwhile: object = None):  # type: ignore[no-untyped-def]
        def make(work: Path, out: Path) -> None:
            checkpoint(work / "state", "first half")
            if callable(meanwhile):
                meanwhile()
            checkpoint(work / "state", "second half")
            (out / "result").write_text("alike" if results == "alike" else name)
            (out / "log").write_text("the same")

        return make

    folders = []
    quick, slow = machine(uri, tmp_path / "quick"), machine(uri, tmp_path / "slow")
    late = maker("slow", lambda: folders.append(quick.build("scores", {}, maker("quick"))))
    folders.append(slow.build("scores", {}, late))
    folders.append(machine(uri, tmp_path / "third").build("scores", {}, maker("third")))
    assert {(folder / "result").read_text() for folder in folders} == {"alike" if results == "alike" else "quick"}
    assert not [name for name in object_names(uri) if name.startswith("work/")]


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FLPRIVACY_STORE", raising=False)
    assert open_store() == Store(tmp_path / "home" / "store")
    assert open_store("s3://bucket/audits") == Store(tmp_path / "home" / "store", "s3://bucket/audits")
    monkeypatch.setenv("FLPRIVACY_STORE", "gs://bucket/x")
    monkeypatch.setenv("FLPRIVACY_STORE_MIRROR_SECONDS", "1.5")
    assert open_store() == Store(tmp_path / "home" / "store", "gs://bucket/x", 1.5)
    assert open_store(str(tmp_path)) == Store(tmp_path)
    monkeypatch.delenv("FLPRIVACY_HOME")
    (tmp_path / "readonly").mkdir()
    monkeypatch.chdir(tmp_path / "readonly")
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    found = open_store()
    assert found.remote == "gs://bucket/x"
    assert found.root.is_relative_to(tmp_path)
    assert found.root.parent.stat().st_mode & 0o777 == 0o700


def test_wrong_places_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match="names no bucket"):
        open_store("s3://")
    with pytest.raises(StorageError, match="not a location"):
        open_store("ftp://host/x")
    monkeypatch.setenv("FLPRIVACY_STORE_MIRROR_SECONDS", "soon")
    with pytest.raises(ConfigError, match="FLPRIVACY_STORE_MIRROR_SECONDS is 'soon'; give a number of seconds"):
        open_store("s3://bucket/x")
    monkeypatch.setenv("FLPRIVACY_STORE_MIRROR_SECONDS", "-1")
    with pytest.raises(ConfigError, match=r"interval_seconds is -1\.0; must not be negative"):
        open_store("s3://bucket/x")
