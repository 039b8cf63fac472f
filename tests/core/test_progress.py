"""Progress reaches a listening parent as events, and says how long still."""

import logging
from pathlib import Path

import pytest

from flprivacy.core import progress as progress_module
from flprivacy.core.events import ENVIRONMENT_VARIABLE, EventReader, emit
from flprivacy.core.progress import progress, track


def test_without_a_listener_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    emit("step", step="x")
    assert list(tmp_path.iterdir()) == []


def test_first_and_last_units_are_always_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path))
    reader = EventReader(tmp_path)
    assert list(track(range(7), "Counting")) == list(range(7))
    events = reader.read()
    assert (events[0]["done"], events[-1]["done"], events[-1]["total"]) == (0, 7, 7)
    assert {e["description"] for e in events} == {"Counting"}
    assert reader.read() == []


def test_a_line_still_being_written_waits(tmp_path: Path) -> None:
    reader = EventReader(tmp_path)
    file = tmp_path / "1.jsonl"
    file.write_text('{"kind": "step", "time": 1, "pid": 1}\n{"kind": "st')
    assert [e["kind"] for e in reader.read()] == ["step"]
    with file.open("a") as stream:
        stream.write('ep", "time": 2, "pid": 1}\n')
    assert [e["time"] for e in reader.read()] == [2]


def test_time_left_counts_only_what_this_process_did(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 10.0, 10.0, 10.0, 10.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
    with progress("Work", 10) as counter:
        counter.done = counter._resumed_at = 5
        assert counter.seconds_left() is None
        counter.done = 7
        assert counter.seconds_left() == pytest.approx(0.0)
        assert counter.seconds_left() == pytest.approx(10.0 / 2 * 3)


def test_the_log_says_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "flprivacy.progress"), progress("Work", 2) as counter:
        counter.advance(2)
    assert [r.getMessage() for r in caplog.records] == ["Work: 2 of 2"]
