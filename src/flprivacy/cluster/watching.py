"""Show a run on the cluster until it ends: a live table of its steps on a terminal, a line per change elsewhere."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from rich.console import Console
from rich.live import Live
from rich.table import Table

from flprivacy.cluster.connection import Cluster
from flprivacy.cluster.requests import RETRY, Caller
from flprivacy.cluster.runs import CANCELED, FAILED, RUNNING, SUCCEEDED, RunStatus, Step, run_status

# A run lasts hours, and the API server may be restarted meanwhile.
_PATIENT = replace(RETRY, attempts=20, longest_delay_seconds=30.0)
_MARKS = {SUCCEEDED: "[green]✓[/green]", FAILED: "[red]✗[/red]", CANCELED: "[yellow]■[/yellow]", RUNNING: "…"}


def watch_run(
    cluster: Cluster,
    run_id: str,
    steps: Sequence[str],
    console: Console,
    *,
    every_seconds: float,
    pause: Callable[[float], None] = time.sleep,
) -> RunStatus:
    """Return the state in which a run ended, showing its steps until then.

    Raises:
        ClusterError: the server refuses, or stays away for minutes; the run goes on.
    """
    cluster = replace(cluster, call=Caller(cluster.call.host, _PATIENT))
    if not console.is_terminal:
        return _lines(cluster, run_id, steps, console, every_seconds, pause)
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            status = run_status(cluster, run_id, steps)
            live.update(step_table(status))
            if status.finished:
                break
            pause(every_seconds)
    console.print(step_table(status))
    return status


def step_table(status: RunStatus) -> Table:
    """Return a table of a run's steps."""
    title = f"run {status.run_id} · {status.state.lower()}"
    table = Table(title=title, title_justify="left", min_width=len(title) + 1)
    table.add_column("")
    table.add_column("step")
    table.add_column("state")
    table.add_column("time", justify="right")
    for step in status.steps:
        table.add_row(_MARKS.get(step.state, "·"), step.name, _state(step), _duration(step))
    return table


def _lines(
    cluster: Cluster,
    run_id: str,
    steps: Sequence[str],
    console: Console,
    every_seconds: float,
    pause: Callable[[float], None],
) -> RunStatus:
    shown: dict[str, str] = {}
    while True:
        status = run_status(cluster, run_id, steps)
        for step in status.steps:
            state = _state(step)
            if shown.get(step.name) != state:
                shown[step.name] = state
                time_taken = f" [dim]{_duration(step)}[/dim]" if step.state in (SUCCEEDED, FAILED) else ""
                console.print(f"  {_MARKS.get(step.state, '·')} {step.name}: {state}{time_taken}", highlight=False)
        if status.finished:
            return status
        pause(every_seconds)


def _state(step: Step) -> str:
    """Return ``running``, or ``2 succeeded, 1 running`` of a step in a loop."""
    if sum(step.counts.values()) == 1:
        return step.state.lower()
    return ", ".join(f"{count} {state.lower()}" for state, count in sorted(step.counts.items(), reverse=True))


def _duration(step: Step) -> str:
    return "" if step.seconds is None else str(timedelta(seconds=round(step.seconds)))
