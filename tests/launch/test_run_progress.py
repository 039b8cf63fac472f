"""Events become lines that a person can follow; bytes are shown as bytes with their rate."""

import io
import json
import os
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from flprivacy.core.events import ENVIRONMENT_VARIABLE
from flprivacy.core.progress import track
from flprivacy.launch.progress import AmountColumn, Watch, amount_text, drawing_here


def _write(folder: Path, *events: dict[str, object]) -> None:
    with (folder / "7.jsonl").open("a") as stream:
        for i, event in enumerate(events):
            stream.write(json.dumps({"time": float(i), "pid": 7, **event}) + "\n")


@pytest.mark.parametrize("terminal", [False, True])
def test_steps_their_progress_and_their_end_are_shown(tmp_path: Path, terminal: bool) -> None:
    out = io.StringIO()
    watch = Watch(tmp_path, Console(file=out, force_terminal=terminal, width=120))
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


def test_a_step_that_makes_something_is_not_called_reused(tmp_path: Path) -> None:
    out = io.StringIO()
    watch = Watch(tmp_path, Console(file=out, width=120))
    _write(
        tmp_path,
        {"kind": "step", "step": "attack_target", "detail": "central"},
        {"kind": "reused", "artifact": "scores"},
        {"kind": "made", "artifact": "scores"},
        {"kind": "done", "step": "attack_target", "detail": "central"},
    )
    watch.update()
    assert "✓ attack_target central" in out.getvalue()
    assert "reused" not in out.getvalue()


def test_a_refusal_is_kept_for_the_end(tmp_path: Path) -> None:
    watch = Watch(tmp_path, Console(file=io.StringIO()))
    _write(
        tmp_path,
        {"kind": "step", "step": "evaluate", "detail": ""},
        {"kind": "error", "step": "evaluate", "detail": "", "message": "x.npy: truncated; pull it again", "code": 2},
    )
    watch.update()
    assert watch.errors == [("x.npy: truncated; pull it again", 2)]


def test_work_in_this_process_draws_and_restores_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    with drawing_here():
        assert sum(track([1, 2, 3], "Adding")) == 6
    assert ENVIRONMENT_VARIABLE not in os.environ


@pytest.mark.parametrize(
    ("description", "done", "total", "rate", "text"),
    [
        ("intervals", 3, 7, 2.0, "3 of 7"),
        ("pulling 9 volumes (bytes)", 1_200_000_000, 2_000_000_000, 2.4e8, "1.2 GB of 2.0 GB, 240.0 MB/s"),
        ("pulling 9 volumes (bytes)", 0, 6256, None, "0 bytes of 6.3 kB"),
        ("anything", 0, None, None, ""),
    ],
)
def test_text(description: str, done: float, total: float | None, rate: float | None, text: str) -> None:
    assert amount_text(description, done, total, rate) == text


def test_a_transfers_bar_shows_bytes_and_rate() -> None:
    out, now = io.StringIO(), [0.0]
    bars = Progress(AmountColumn(), console=Console(file=out, force_terminal=True), get_time=lambda: now[0])
    task = bars.add_task("pulling (bytes)", total=4_000_000)
    for second in (1.0, 2.0, 3.0):
        now[0] = second
        bars.update(task, advance=1_000_000)
    bars.console.print(bars.get_renderable())
    assert "3.0 MB of 4.0 MB, 1.0 MB/s" in out.getvalue()


def test_a_step_in_which_something_failed_ends_once(tmp_path: Path) -> None:
    out = io.StringIO()
    watch = Watch(tmp_path, Console(file=out, width=120))
    _write(
        tmp_path,
        {"kind": "step", "step": "train_generator", "detail": ""},
        {"kind": "failed", "step": "train_generator", "detail": "", "message": "generator: it collapsed"},
        {"kind": "done", "step": "train_generator", "detail": ""},
    )
    watch.update()
    assert "✗ train_generator" in out.getvalue()
    assert "✓" not in out.getvalue()
    assert watch.failed == ["generator: it collapsed"]


@pytest.mark.parametrize("terminal", [False, True])
def test_parts_of_a_step_are_shown_in_its_place(tmp_path: Path, terminal: bool) -> None:
    out = io.StringIO()
    watch = Watch(tmp_path, Console(file=out, force_terminal=terminal, width=120))
    _write(
        tmp_path,
        {"kind": "step", "step": "synthesize", "detail": ""},
        {"kind": "step", "step": "train_generator", "detail": ""},
        {"kind": "made", "artifact": "generator"},
        {"kind": "done", "step": "train_generator", "detail": ""},
        {"kind": "step", "step": "synthesize_cohort", "detail": ""},
        {"kind": "reused", "artifact": "synthetic"},
    )
    watch.update()
    assert watch.running() == {7: "synthesize_cohort"}
    _write(
        tmp_path,
        {"kind": "done", "step": "synthesize_cohort", "detail": "", "time": 7.0},
        {"kind": "done", "step": "synthesize", "detail": "", "time": 8.0},
    )
    with watch.drawing():
        pass
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())
    ends = re.findall(r"✓ \w+ \d+ s.*?(?=\s*\n)", shown)
    assert ends == ["✓ train_generator 2 s", "✓ synthesize_cohort 3 s (unchanged, reused)"]
    assert watch.running() == {}


def test_a_step_whose_process_died_is_no_longer_shown(tmp_path: Path) -> None:
    """Another process tells of it, which does not know how far it had come."""
    out = io.StringIO()
    watch = Watch(tmp_path, Console(file=out, width=120))
    _write(
        tmp_path,
        {"kind": "step", "step": "train_target", "detail": "a b", "pid": 8},
        {"kind": "step", "step": "train_target", "detail": "b", "pid": 9},
        {"kind": "failed", "step": "attack_target", "detail": "b", "message": "b: killed"},
    )
    watch.update()
    assert watch.running() == {8: "train_target a b"}
    assert "✗ train_target b" in out.getvalue()
