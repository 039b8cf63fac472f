"""The watch turns events into lines that a person can follow."""

import io
import json
import os
import re
from pathlib import Path

import pytest
from rich.console import Console

from flprivacy.core.events import ENVIRONMENT_VARIABLE, EventReader
from flprivacy.core.progress import track
from flprivacy.launch.direct import drawing_here
from flprivacy.launch.watch import Watch


def _write(folder: Path, *events: dict[str, object]) -> None:
    with (folder / "7.jsonl").open("a") as stream:
        for i, event in enumerate(events):
            stream.write(json.dumps({"time": float(i), "pid": 7, **event}) + "\n")


@pytest.mark.parametrize("terminal", [False, True])
def test_steps_their_progress_and_their_end_are_shown(tmp_path: Path, terminal: bool) -> None:
    out = io.StringIO()
    watch = Watch(EventReader(tmp_path), Console(file=out, force_terminal=terminal, width=120))
    _write(
        tmp_path,
        {"kind": "step", "step": "train_target", "detail": "central"},
        {"kind": "progress", "description": "Training", "done": 0, "total": 4},
        {"kind": "progress", "description": "Training", "done": 2, "total": 4},
    )
    watch.update()
    assert watch.running() == {7: "train_target central"}
    _write(
        tmp_path,
        {"kind": "reused", "artifact": "target"},
        {"kind": "note", "text": "a note"},
        {"kind": "warning", "message": "a warning"},
        {"kind": "done", "step": "train_target", "detail": "central"},
    )
    with watch.drawing():
        pass
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())
    assert "✓ train_target central" in shown
    assert "(unchanged, reused)" in shown
    assert (watch.notes, watch.warnings, watch.errors, watch.running()) == (["a note"], ["a warning"], [], {})


def test_a_refusal_is_kept_for_the_end(tmp_path: Path) -> None:
    watch = Watch(EventReader(tmp_path), Console(file=io.StringIO()))
    _write(
        tmp_path,
        {"kind": "step", "step": "evaluate", "detail": ""},
        {"kind": "error", "step": "evaluate", "detail": "", "message": "x.npy: truncated; pull it again"},
    )
    watch.update()
    assert watch.errors == ["x.npy: truncated; pull it again"]


def test_work_in_this_process_draws_and_restores_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    with drawing_here(Console(file=io.StringIO())):
        assert sum(track([1, 2, 3], "Adding")) == 6
    assert ENVIRONMENT_VARIABLE not in os.environ
