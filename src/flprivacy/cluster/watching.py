"""Show a run on the cluster until it ends: a live table of its steps on a terminal, a line per change elsewhere."""

import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from flprivacy.cluster.api import RETRY, Cluster
from flprivacy.cluster.causes import read_causes
from flprivacy.cluster.runs import CANCELED, FAILED, RUNNING, SUCCEEDED, RunStatus, Step, run_status
from flprivacy.core.errors import TrackingError

# A run lasts hours, and the API server may be restarted meanwhile.
_PATIENT = replace(RETRY, attempts=20, longest_delay_seconds=30.0)
_MARKS = {SUCCEEDED: "[green]✓[/green]", FAILED: "[red]✗[/red]", CANCELED: "[yellow]■[/yellow]", RUNNING: "…"}
WAITS_SECONDS = 60.0  # between two looks at why pods do not begin
_RUN_TAG = "audit.kfp_run"
TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"


def watch_run(
    cluster: Cluster, run_id: str, steps: Sequence[str], console: Console, *, every_seconds: float
) -> RunStatus:
    """Return the state in which a run ended, showing its steps until then; ClusterError does not mean that it ended."""
    cluster = replace(cluster, call=replace(cluster.call, retry=_PATIENT))
    shown: dict[str, str] = {}
    waits = _Waits(run_id, cluster.namespace)
    live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
    with live or nullcontext():
        while True:
            status = run_status(cluster, run_id, steps)
            if live is not None:
                live.update(status_table(status))
            else:
                _print_changes(status, shown, console)
            if status.finished:
                break
            for line in waits.new_lines():
                console.print(f"  [yellow]waiting:[/yellow] {escape(line)}", highlight=False)
            time.sleep(every_seconds)
    if live is not None:
        console.print(status_table(status))
    return status


class _Waits:
    """Why pods do not begin, looked up once a minute for as long as kubectl can tell."""

    def __init__(self, run_id: str, namespace: str) -> None:
        self._where = (run_id, namespace)
        self._next = time.monotonic() + WAITS_SECONDS
        self._told: set[str] = set()

    def new_lines(self) -> list[str]:
        """Return what was not told before; often nothing."""
        if time.monotonic() < self._next:
            return []
        causes = read_causes(*self._where)
        self._next = math.inf if causes.unread else time.monotonic() + WAITS_SECONDS
        lines = [line for cause in causes.waiting if (line := str(cause)) not in self._told]
        self._told.update(lines)
        return lines


def mlflow_lines(run_id: str, links: Mapping[str, str]) -> list[str]:
    """Return a line for each MLflow run of a pipeline run, those that the backend's own MLflow plugin filed first.

    The steps' own runs are looked up if ``$MLFLOW_TRACKING_URI`` is set; without one, or if it does not
    answer, the line gives the tag to look for.
    """
    lines = [f"{name}: {link}" for name, link in links.items()]
    tagged = f"the audit's run has the tag {_RUN_TAG} = {run_id}"
    if not os.environ.get(TRACKING_VARIABLE):
        return [*lines, f"{tagged} (set {TRACKING_VARIABLE} for its link, and to see the result here)"]
    from flprivacy.tracking.history import filed_by

    try:
        found = filed_by(run_id)
    except TrackingError as error:
        return [*lines, f"{error}; {tagged}"]
    pages = [*(filed.page for filed in found), *(f"{table} (all runs)" for table in {filed.table for filed in found})]
    return [*lines, *(pages or [f"no run has the tag {_RUN_TAG} = {run_id}"])]


def status_table(status: RunStatus) -> Table:
    """Return a run's steps as a table."""
    title = f"run {status.run_id} · {status.state.lower()}"
    table = Table("", "step", "state", title=title, title_justify="left", min_width=len(title) + 1)
    table.add_column("time", justify="right")
    for step in status.steps:
        table.add_row(_MARKS.get(step.state, "·"), step.name, _state(step), _duration(step))
    return table


def _print_changes(status: RunStatus, shown: dict[str, str], console: Console) -> None:
    for step in status.steps:
        state = _state(step)
        if shown.get(step.name) != state:
            shown[step.name] = state
            took = f" [dim]{_duration(step)}[/dim]" if step.state in (SUCCEEDED, FAILED) else ""
            console.print(f"  {_MARKS.get(step.state, '·')} {step.name}: {state}{took}", highlight=False)


def _state(step: Step) -> str:
    """Return ``running``, or ``2 succeeded, 1 running`` for a step in a loop."""
    if sum(step.counts.values()) == 1:
        return step.state.lower()
    return ", ".join(f"{count} {state.lower()}" for state, count in sorted(step.counts.items(), reverse=True))


def _duration(step: Step) -> str:
    return "" if step.seconds is None else str(timedelta(seconds=round(step.seconds)))
