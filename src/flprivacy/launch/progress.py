"""Draw progress: of a run's steps, or of work in this process; live bars on a terminal, plain lines elsewhere."""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from flprivacy.core.events import ENVIRONMENT_VARIABLE, EventReader

_PLAIN_WIDTH = 120  # of a log or pipe, where there is no terminal to ask
_PLAIN_EVERY_SECONDS = 15.0
_POLL_SECONDS = 0.2
_BYTES = "(bytes)"  # how a description ends whose units are bytes


def console() -> Console:
    """Return a console on standard output as it is now; a pipeline's own output may later go to a log."""
    found = Console(file=sys.stdout)
    return found if found.is_terminal else Console(file=sys.stdout, width=max(found.width, _PLAIN_WIDTH))


def amount_text(description: str, done: float, total: float | None, rate: float | None = None) -> str:
    """Return text such as ``3 of 7``, or ``1.2 GB of 2.0 GB, 240.0 MB/s`` where the description ends in ``(bytes)``.

    ``rate`` is in units per second; total and rate are None where not known.
    """
    if total is None:
        return ""
    if not description.endswith(_BYTES):
        return f"{done:.0f} of {total:.0f}"
    speed = f", {decimal(int(rate))}/s" if rate else ""
    return f"{decimal(int(done))} of {decimal(int(total))}{speed}"


class AmountColumn(ProgressColumn):
    """Shows the amount beside a live bar."""

    def render(self, task: Task) -> Text:
        """Return the text for one bar."""
        return Text(amount_text(task.description, task.completed, task.total, task.speed), style="progress.download")


@contextmanager
def drawing_here() -> Iterator[None]:
    """Draw what :mod:`flprivacy.core.progress` reports in this process while the block runs."""
    columns = (TextColumn("{task.description}"), BarColumn(), AmountColumn(), TimeRemainingColumn())
    with tempfile.TemporaryDirectory() as folder, Progress(*columns, console=console(), transient=True) as bars:
        before = os.environ.get(ENVIRONMENT_VARIABLE)
        os.environ[ENVIRONMENT_VARIABLE] = folder
        stop = threading.Event()
        drawer = threading.Thread(target=_draw, args=(EventReader(Path(folder)), bars, stop), daemon=True)
        drawer.start()
        try:
            yield
        finally:
            stop.set()
            drawer.join()
            if before is None:
                del os.environ[ENVIRONMENT_VARIABLE]
            else:
                os.environ[ENVIRONMENT_VARIABLE] = before


def _draw(reader: EventReader, bars: Progress, stop: threading.Event) -> None:
    tasks: dict[str, Any] = {}
    while not stop.wait(_POLL_SECONDS):
        for event in reader.read():
            if event["kind"] == "progress":
                text = event["description"]
                if text not in tasks:
                    tasks[text] = bars.add_task(text, total=event["total"])
                bars.update(tasks[text], completed=event["done"], total=event["total"])


class Watch:
    """Draws the events of a run's steps, and keeps what they had to say, in order."""

    def __init__(self, folder: Path, screen: Console) -> None:
        self.errors: list[tuple[str, int]] = []  # messages of steps that refused, and their exit codes
        self.failed: list[str] = []  # messages of targets' steps that failed while the run went on
        self.results: dict[str, str] = {}  # folders of the run's results by name, also where the run then fails
        self.warnings: list[str] = []  # to repeat at the end
        self.notes: list[str] = []  # likewise
        self._reader = EventReader(folder)
        self._screen = screen
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            AmountColumn(),
            TimeRemainingColumn(),
            console=screen,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not screen.is_terminal,
        )
        self._steps: dict[int, tuple[str, float]] = {}
        self._tasks: dict[int, Any] = {}
        self._reused: set[int] = set()
        self._made: set[int] = set()
        self._plain_at: dict[int, float] = {}

    def running(self) -> dict[int, str]:
        """Return the process and name of each step that has started and not ended."""
        return {pid: self._steps[pid][0] for pid in self._tasks}

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Keep the bars on the screen while the block runs."""
        with self._bars:
            yield
            self.update()

    def update(self) -> None:
        """Take in the events since the last call."""
        for event in self._reader.read():
            match event["kind"]:
                case "step":
                    self._on_step(event)
                case "progress":
                    self._on_progress(event)
                case "done":
                    self._finish(event, "[green]✓[/green]")
                case "error":
                    self._finish(event, "[red]✗[/red]")
                    self.errors.append((event["message"], event["code"]))
                case "failed":
                    self._finish(event, "[red]✗[/red]")
                    self.failed.append(event["message"])
                case "result":
                    self.results = {name: value for name, value in event.items() if name not in ("kind", "time", "pid")}
                case "reused":
                    self._reused.add(event["pid"])
                case "made":
                    self._made.add(event["pid"])
                case "note":
                    self.notes.append(event["text"])
                case "warning":
                    self.warnings.append(event["message"])

    def _on_step(self, event: dict[str, Any]) -> None:
        name, pid = " ".join(filter(None, (event["step"], event["detail"]))), event["pid"]
        if pid in self._tasks:  # a part of that step, which takes its place
            self._bars.remove_task(self._tasks[pid])
        for told in (self._reused, self._made):  # of the part before
            told.discard(pid)
        self._steps[pid] = (name, event["time"])
        self._tasks[pid] = self._bars.add_task(name, total=None)
        if not self._screen.is_terminal:
            self._screen.print(f"  … {name}")

    def _on_progress(self, event: dict[str, Any]) -> None:
        pid = event["pid"]
        if pid not in self._tasks:
            return
        name, _ = self._steps[pid]
        text = f"{name} · {event['description']}"
        if event["done"] == 0:  # a new piece of work: its own clock
            self._bars.reset(self._tasks[pid], total=event["total"], description=text)
        self._bars.update(self._tasks[pid], completed=event["done"], total=event["total"], description=text)
        if not self._screen.is_terminal and time.monotonic() - self._plain_at.get(pid, 0.0) > _PLAIN_EVERY_SECONDS:
            self._plain_at[pid] = time.monotonic()
            self._screen.print(f"    {text}: {amount_text(text, event['done'], event['total'])}")

    def _finish(self, event: dict[str, Any], mark: str) -> None:
        told = " ".join(filter(None, (event["step"], event["detail"])))
        # A process may tell how a phase ended that another one began; of one that died it knows the target alone.
        began = [pid for pid in self._tasks if self._steps[pid][0] == told]
        whose = event["detail"]
        began += [pid for pid in self._tasks if whose and self._steps[pid][0].partition(" ")[2] == whose]
        pid = event["pid"] if event["pid"] in self._tasks else next(iter(began), event["pid"])
        name, started = self._steps.get(pid, (told, event["time"]))
        task = self._tasks.pop(pid, None)
        if task is not None:
            self._bars.remove_task(task)
        elif pid in self._steps:
            return  # what failed in it has ended it on the screen already
        # A step may take one artifact from the store, such as the attacks on pixels, and make another.
        reused = " (unchanged, reused)" if event["pid"] in self._reused - self._made else ""
        self._screen.print(f"  {mark} {name} [dim]{event['time'] - started:.0f} s{reused}[/dim]", highlight=False)
