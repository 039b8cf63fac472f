"""Show a run's steps as they go: what, how far, how long still."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from flprivacy.core.events import EventReader
from flprivacy.launch.amounts import AmountColumn, amount_text

_PLAIN_EVERY_SECONDS = 15.0


class Watch:
    """Draws the events of a run's steps: live bars on a terminal, a line now and then elsewhere.

    Attributes:
        errors: messages of steps that refused, in order.
        failed: messages of targets' steps that failed while the run went on, in order.
        results: folders of the run's results by name, also where the run then fails.
        warnings: messages to repeat at the end, in order.
        notes: facts to repeat at the end, in order.
    """

    def __init__(self, reader: EventReader, console: Console) -> None:
        self.errors: list[str] = []
        self.failed: list[str] = []
        self.results: dict[str, str] = {}
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self._reader = reader
        self._console = console
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            AmountColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not console.is_terminal,
        )
        self._steps: dict[int, tuple[str, float]] = {}
        self._tasks: dict[int, TaskID] = {}
        self._reused: set[int] = set()
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
            getattr(self, f"_on_{event['kind']}")(event)

    def _on_step(self, event: dict[str, Any]) -> None:
        name = " ".join(filter(None, (event["step"], event["detail"])))
        self._steps[event["pid"]] = (name, event["time"])
        self._tasks[event["pid"]] = self._bars.add_task(name, total=None)
        if not self._console.is_terminal:
            self._console.print(f"  … {name}")

    def _on_progress(self, event: dict[str, Any]) -> None:
        pid = event["pid"]
        if pid not in self._tasks:
            return
        name, _ = self._steps[pid]
        text = f"{name} · {event['description']}"
        if event["done"] == 0:  # a new piece of work: its own clock
            self._bars.reset(self._tasks[pid], total=event["total"], description=text)
        self._bars.update(self._tasks[pid], completed=event["done"], total=event["total"], description=text)
        if not self._console.is_terminal and time.monotonic() - self._plain_at.get(pid, 0.0) > _PLAIN_EVERY_SECONDS:
            self._plain_at[pid] = time.monotonic()
            self._console.print(f"    {text}: {amount_text(text, event['done'], event['total'])}")

    def _finish(self, event: dict[str, Any], mark: str) -> None:
        name, started = self._steps.get(event["pid"], (event["step"], event["time"]))
        task = self._tasks.pop(event["pid"], None)
        if task is not None:
            self._bars.remove_task(task)
        reused = " (unchanged, reused)" if event["pid"] in self._reused else ""
        self._console.print(f"  {mark} {name} [dim]{event['time'] - started:.0f} s{reused}[/dim]", highlight=False)

    def _on_done(self, event: dict[str, Any]) -> None:
        self._finish(event, "[green]✓[/green]")

    def _on_error(self, event: dict[str, Any]) -> None:
        self._finish(event, "[red]✗[/red]")
        self.errors.append(event["message"])

    def _on_failed(self, event: dict[str, Any]) -> None:
        self._finish(event, "[red]✗[/red]")
        self.failed.append(event["message"])

    def _on_result(self, event: dict[str, Any]) -> None:
        self.results = {name: value for name, value in event.items() if name not in ("kind", "time", "pid")}

    def _on_reused(self, event: dict[str, Any]) -> None:
        self._reused.add(event["pid"])

    def _on_note(self, event: dict[str, Any]) -> None:
        self.notes.append(event["text"])

    def _on_warning(self, event: dict[str, Any]) -> None:
        self.warnings.append(event["message"])
