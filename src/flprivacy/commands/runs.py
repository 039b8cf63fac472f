"""``flprivacy runs``: the runs of our pipelines on a cluster."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from flprivacy.commands.following import follow, show_causes, show_end
from flprivacy.commands.options import PIPELINES, polling, where

if TYPE_CHECKING:
    from flprivacy.cluster.api import Cluster


@click.group()
def runs() -> None:
    """The runs of flprivacy's pipelines on a cluster, however they were started.

    \b
    Examples:
      flprivacy runs list
      flprivacy runs show 2f1c...      its steps now, and why any failed or waits
      flprivacy runs watch 2f1c...     after an interruption, until it ends
      flprivacy runs stop 2f1c...
      flprivacy runs tell --every 60   report failed runs to a webhook
    """


@runs.command("list")
@click.option("--number", type=click.IntRange(min=1), default=20, show_default=True, help="How many, latest first.")
@where
def list_(number: int, connect: Callable[[], "Cluster"]) -> None:
    """List runs, latest first: started here, from a schedule, or in the web pages."""
    from rich.table import Table

    from flprivacy.cluster.runs import list_runs
    from flprivacy.cluster.versions import our_pipelines
    from flprivacy.launch.progress import console

    cluster = connect()
    found = list_runs(cluster, our_pipelines(cluster, PIPELINES), number)
    if not found:
        click.echo("no run of flprivacy's pipelines; 'flprivacy submit' starts one")
        return
    table = Table(title=f"runs at {cluster.call.host}", title_justify="left")
    for column in ("began", "pipeline", "name", "state", "time", "id"):
        table.add_column(column, overflow="fold")
    for run in found:
        began = f"{run.created.astimezone():%Y-%m-%d %H:%M}"
        table.add_row(began, run.pipeline, run.name, run.state.lower(), run.duration, run.run_id)
    console().print(table)


@runs.command("show")
@click.argument("run_id")
@where
def show(run_id: str, connect: Callable[[], "Cluster"]) -> None:
    """Show the current state of a run's steps; if it has ended, what it found or why it failed.

    Exit codes as for 'flprivacy submit'; 0 while the run is in progress.
    """
    from flprivacy.cluster.causes import read_causes
    from flprivacy.cluster.runs import run_status
    from flprivacy.cluster.watching import status_table
    from flprivacy.launch.progress import console

    cluster = connect()
    status = run_status(cluster, run_id, _steps(cluster, run_id))
    console().print(status_table(status))
    if status.finished:
        show_end(cluster, status)
    else:
        show_causes(status, read_causes(run_id, cluster.namespace))


@runs.command("watch")
@click.argument("run_id")
@polling
@where
def watch(run_id: str, poll: float, connect: Callable[[], "Cluster"]) -> None:
    """Show a run until it ends, as 'flprivacy submit' does."""
    cluster = connect()
    follow(cluster, run_id, _steps(cluster, run_id), wait=True, poll=poll, name="watched")


@runs.command("stop")
@click.argument("run_id")
@where
def stop(run_id: str, connect: Callable[[], "Cluster"]) -> None:
    """Stop a run. What its steps finished stays, and a new run of the same carries on from there."""
    cluster = connect()
    cluster.call("stop the run", cluster.client.runs.run_service_terminate_run, run_id)
    click.echo(f"stopping:   {cluster.run_link(run_id)} (a large run takes minutes)")


@runs.command("tell")
@click.option(
    "--every",
    "minutes",
    type=click.IntRange(min=1),
    default=60,
    show_default=True,
    help="How often this command is run, in minutes: it looks at the last whole period of that length.",
)
@where
def tell(minutes: int, connect: Callable[[], "Cluster"]) -> None:
    """Report failed runs and their causes to the webhook; to be run on a schedule, by the cluster or by CI.

    A run whose last step fails because of a leak or a change is reported, too. The URL is taken from
    FLPRIVACY_WEBHOOK_URL. Periods start at whole multiples of their length, so each run is reported once, however late
    within a period this command runs.
    """
    from datetime import UTC, datetime, timedelta

    from flprivacy.cluster.runs import failed_runs, failure_message, last_period
    from flprivacy.cluster.versions import our_pipelines
    from flprivacy.steps.notify import tell as post

    cluster = connect()
    begin, end = last_period(datetime.now(UTC), timedelta(minutes=minutes))
    found = failed_runs(cluster, our_pipelines(cluster, PIPELINES), begin, end)
    for run in found:
        words = failure_message(cluster, run, _steps(cluster, run.run_id))
        post(words)
        click.echo(f"told:       {words['text']}")
    if not found:
        click.echo(f"no run failed between {begin:%Y-%m-%d %H:%M} and {end:%H:%M} UTC")


def _steps(cluster: "Cluster", run_id: str) -> tuple[str, ...]:
    """Return the names of the steps of a run's pipeline."""
    from flprivacy.cluster.runs import version_of
    from flprivacy.cluster.versions import version_steps

    return version_steps(cluster, *version_of(cluster, run_id))
