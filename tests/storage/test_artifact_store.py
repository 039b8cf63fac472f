"""The store: made once, whole or absent, carried on after a kill, one maker at a time."""

import importlib.metadata
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from flprivacy.core.errors import StorageError
from flprivacy.storage import artifact_store as store_module
from flprivacy.storage.artifact_store import Store, deliver
from flprivacy.storage.code_fingerprint import fingerprint, library_versions


def _make(text: str):  # type: ignore[no-untyped-def]
    def make(work: Path, out: Path) -> None:
        (out / "f").write_text(text)

    return make


def test_the_same_inputs_are_made_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.build("audit", {"a": 1}, _make("one"))
    again = store.build("audit", {"a": 1}, _make("two"))
    other = store.build("audit", {"a": 2}, _make("three"))
    assert first == again != other
    assert (again / "f").read_text() == "one"
    assert (other / "f").read_text() == "three"


def test_changed_code_is_not_served_old_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.build("audit", {"a": 1}, _make("old code"))
    monkeypatch.setattr(store_module, "fingerprint_of_kind", lambda kind: "other")
    assert (store.build("audit", {"a": 1}, _make("new code")) / "f").read_text() == "new code"


def test_a_failed_make_keeps_its_checkpoints_and_publishes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    seen: list[list[str]] = []

    def make(work: Path, out: Path) -> None:
        seen.append(sorted(p.name for p in work.iterdir()))
        (out / "half").write_text("")
        if not seen[-1]:
            (work / "checkpoint").write_text("")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        store.build("audit", {}, make)
    assert not list((tmp_path / "audit").iterdir())
    entry = store.build("audit", {}, make)
    assert seen == [[], ["checkpoint"]]
    assert [p.name for p in entry.iterdir()] == ["half"]
    assert not list((tmp_path / "work").iterdir())


def _slow(root: Path) -> None:
    def make(work: Path, out: Path) -> None:
        with (root / "calls").open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        time.sleep(0.5)
        (out / "f").write_text("x")

    Store(root).build("audit", {}, make)


def _hang(root: Path) -> None:
    def make(work: Path, out: Path) -> None:
        (work / "checkpoint").write_text("kept")
        (root / "ready").touch()
        time.sleep(60)

    Store(root).build("audit", {}, make)


def test_two_makers_at_once_make_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    makers = [context.Process(target=_slow, args=(tmp_path,)) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(20)
    assert [m.exitcode for m in makers] == [0, 0]
    assert len((tmp_path / "calls").read_text().splitlines()) == 1


def test_a_killed_maker_frees_the_lock_and_leaves_its_checkpoint(tmp_path: Path) -> None:
    maker = multiprocessing.get_context("fork").Process(target=_hang, args=(tmp_path,))
    maker.start()
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    os.kill(maker.pid or 0, signal.SIGKILL)
    maker.join()

    def make(work: Path, out: Path) -> None:
        (out / "f").write_text((work / "checkpoint").read_text())

    assert (Store(tmp_path).build("audit", {}, make) / "f").read_text() == "kept"


def test_an_unwritable_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/locks: cannot create this folder .* choose a store"):
        Store(tmp_path / "file").build("audit", {}, _make(""))


def test_delivery_links_and_a_replaced_link_leaves_the_store_alone(tmp_path: Path) -> None:
    entry = Store(tmp_path / "s").build("audit", {}, _make("x"))
    deliver(entry, tmp_path / "out")
    assert (tmp_path / "out" / "f").stat().st_ino == (entry / "f").stat().st_ino
    (tmp_path / "out" / "f").unlink()
    assert (entry / "f").read_text() == "x"


def test_delivery_copies_where_links_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(source: str, destination: str) -> None:
        raise OSError("cross-device")

    entry = Store(tmp_path / "s").build("audit", {}, _make("x"))
    monkeypatch.setattr(store_module.os, "link", no_links)
    deliver(entry, tmp_path / "out")
    assert (tmp_path / "out" / "f").read_text() == "x"
    assert (tmp_path / "out" / "f").stat().st_ino != (entry / "f").stat().st_ino


def test_the_versions_are_those_that_run() -> None:
    found = library_versions()
    assert found["numpy"] == np.__version__
    assert {"tensorflow", "tensorflow-cpu"} & set(found)
    assert list(found) == sorted(found)


def test_another_version_of_a_library_is_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = ("core",)
    before = fingerprint.__wrapped__(parts)
    assert fingerprint.__wrapped__(parts) == before
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "9" if name.startswith("tensorflow") else real(name)
    )
    assert fingerprint.__wrapped__(parts) != before
