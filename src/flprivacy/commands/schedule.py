"""``flprivacy schedule``: pipelines on a cluster at set times."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from flprivacy.commands.following import follow
from flprivacy.commands.options import PIPELINES, filing, watching, what, where
from flprivacy.commands.submit import run_title
from flprivacy.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from rich.table import Table

    from flprivacy.cluster.api import Cluster
    from flprivacy.cluster.schedules import Schedule
    from flprivacy.launch.parameters import RunOptions

_RUNS = 500  # among which the last run of each schedule is looked for
_CLUSTER_ZONE = click.option(
    "--cluster-timezone",
    envvar="FLPRIVACY_CLUSTER_TIMEZONE",
    default="UTC",
    show_default=True,
    help="cronScheduleTimezone of the installation, which all its schedules follow.",
)


@click.group()
def schedule() -> None:
    """Run pipelines on a cluster at set times. A schedule is pinned to the version that it was created with.

    \b
    Examples:
      flprivacy schedule create nightly re_audit --cron "0 0 2 * * *" --cohort s3://data/cohort \\
          --targets-from s3://models/published --fail-on-worse
      flprivacy schedule list
      flprivacy schedule run nightly
    """


@schedule.command("create")
@click.argument("name")
@click.argument("pipeline", type=click.Choice(PIPELINES))
@click.option(
    "--cron", required=True, help='Second minute hour day month weekday, such as "0 0 2 * * 1"; or five fields.'
)
@click.option("--timezone", default="", help="Time zone that --cron is in [default: the cluster's].")
@_CLUSTER_ZONE
@what
@filing
@where
def create(
    name: str,
    pipeline: str,
    cron: str,
    timezone: str,
    cluster_timezone: str,
    asked: "RunOptions",
    connect: Callable[[], "Cluster"],
    **filed: str,
) -> None:
    """Create a schedule, or replace the one of that name without a gap between them.

    Runs do not overlap. If several were missed, only the latest is made up for.

    \b
    Examples:
      flprivacy schedule create weekly privacy_audit --cron "30 2 * * 1" --timezone Asia/Tokyo \\
          --cohort s3://data/cohort --target live=models:/chest-ct@production
    """
    from flprivacy.cluster.cron import in_cluster_zone, read_cron, read_zone
    from flprivacy.cluster.parameters import run_parameters
    from flprivacy.cluster.schedules import Schedule, put_schedule
    from flprivacy.cluster.versions import ensure_version, start_of
    from flprivacy.launch.compiled import read_compiled

    if not name.strip():
        raise ConfigError(f"schedule {name!r}: give it a name, such as nightly")
    if filed.get("mlflow_experiment"):
        raise ConfigError(
            "--mlflow-experiment: Kubeflow 2.17 loses the parameters of a schedule that names one, and starts none of "
            "its runs; leave it out, and its plugin files them in its default experiment"
        )
    now = datetime.now(UTC)
    given = read_cron(cron)
    cluster_zone = read_zone(cluster_timezone, "--cluster-timezone")
    zone = read_zone(timezone, "--timezone") if timezone else cluster_zone
    fires = in_cluster_zone(given, zone, cluster_zone, now)
    following = fires.next_after(now, cluster_zone)
    if following is None:
        raise ConfigError(f"--cron {cron!r}: never fires within five years; check day and month")
    compiled = read_compiled(pipeline)
    parameters = run_parameters(compiled, asked)
    cluster = connect()
    version = ensure_version(cluster, compiled)
    start = start_of(cluster, compiled, version, parameters, name=name, **filed)
    done = put_schedule(cluster, Schedule(cron=fires.text, written=given.text, zone=zone.key, start=start))
    if len(cron.split()) == 5:
        click.echo(f"cron:       {cron!r} has five fields; taken as {given.text!r}, at second 0")
    if fires.text != given.text:
        click.echo(f"cron:       {given.text!r} in {zone.key} is {fires.text!r} in {cluster_zone.key}")
    click.echo(f"schedule:   {name} · {_what_was_done(done.created, done.removed)} · {done.schedule_id}")
    click.echo(f"            {cluster.schedule_link(done.schedule_id)}")
    if done.resumed:
        click.echo("            it was paused, and is now enabled")
    click.echo(f"pinned to:  {compiled.title} · version {version.name}")
    click.echo(f"next run:   {_moment(following, zone)}")


@schedule.command("list")
@_CLUSTER_ZONE
@where
def list_(cluster_timezone: str, connect: Callable[[], "Cluster"]) -> None:
    """List the schedules that flprivacy created: how their last runs ended, and when they run next."""
    from flprivacy.cluster.cron import read_zone
    from flprivacy.cluster.schedules import list_all
    from flprivacy.cluster.versions import our_pipelines
    from flprivacy.launch.progress import console

    zone = read_zone(cluster_timezone, "--cluster-timezone")
    cluster = connect()
    pipelines = our_pipelines(cluster, PIPELINES)
    found, elsewhere = list_all(cluster, pipelines)
    if found:
        console().print(_table(cluster, found, zone, pipelines))
    else:
        click.echo("no schedule that flprivacy created; 'flprivacy schedule create' creates one")
    for name in elsewhere:
        click.echo(f"made elsewhere, so not kept here: {name} (its runs are in 'flprivacy runs list')")


@schedule.command("pause")
@click.argument("name")
@where
def pause(name: str, connect: Callable[[], "Cluster"]) -> None:
    """Pause a schedule until it is resumed; a run in progress continues."""
    _set_enabled(connect(), name, enabled=False)


@schedule.command("resume")
@click.argument("name")
@where
def resume(name: str, connect: Callable[[], "Cluster"]) -> None:
    """Resume a paused schedule; of the runs that it missed, at most the latest is made up for."""
    _set_enabled(connect(), name, enabled=True)


@schedule.command("delete")
@click.argument("name")
@where
def delete(name: str, connect: Callable[[], "Cluster"]) -> None:
    """Delete a schedule. Its runs are kept, and a run in progress continues."""
    from flprivacy.cluster.schedules import all_named, delete_schedule

    cluster = connect()
    for found in all_named(cluster, name):
        delete_schedule(cluster, found)
    click.echo(f"deleted:    {name}")


@schedule.command("run")
@click.argument("name")
@watching
@where
def run_(name: str, wait: bool, poll: float, connect: Callable[[], "Cluster"]) -> None:
    """Run now what the schedule runs: its own version, with its own parameters. Its times do not change."""
    from flprivacy.cluster.schedules import all_named, run_now
    from flprivacy.cluster.versions import version_steps

    cluster = connect()
    found = all_named(cluster, name)[-1]
    steps = version_steps(cluster, found.start.pipeline_id, found.start.version_id)
    title = run_title(name)
    follow(cluster, run_now(cluster, found, title), steps, wait=wait, poll=poll, name=title)


def _set_enabled(cluster: "Cluster", name: str, *, enabled: bool) -> None:
    from flprivacy.cluster.schedules import all_named, set_enabled

    *stale, current = all_named(cluster, name)
    for old in stale if not enabled else ():  # what a stopped replacement left must not go on running
        set_enabled(cluster, old, enabled=False)
    set_enabled(cluster, current, enabled=enabled)
    click.echo(f"{'resumed' if enabled else 'paused'}:    {name}")


def _what_was_done(created: bool, removed: int) -> str:
    if not created:
        return f"unchanged, {removed} older deleted" if removed else "unchanged"
    return f"replaced {removed} older" if removed else "created"


def _table(cluster: "Cluster", found: "list[Schedule]", zone: "ZoneInfo", pipelines: "Mapping[str, str]") -> "Table":
    from rich.table import Table

    from flprivacy.cluster.cron import read_cron
    from flprivacy.cluster.runs import list_runs
    from flprivacy.cluster.versions import version_name

    table = Table(title=f"schedules at {cluster.call.host}", title_justify="left")
    for column in ("name", "state", "cron", "last run", "next run", "version", "id"):
        table.add_column(column, overflow="fold")
    last = {run.schedule_id: run for run in reversed(list_runs(cluster, pipelines, _RUNS))}
    names: dict[tuple[str, str], str] = {}
    now = datetime.now(UTC)
    for item in found:
        key = (item.start.pipeline_id, item.start.version_id)
        names[key] = names.get(key) or version_name(cluster, *key)
        run = last.get(item.schedule_id)
        following = read_cron(item.cron).next_after(now, zone) if item.enabled and item.cron else None
        table.add_row(
            item.start.name,
            "enabled" if item.enabled else "paused",
            f"{item.written} ({item.zone})",
            f"{run.state.lower()} {_moment(run.created, zone)} {run.run_id}" if run else "-",
            _moment(following, zone) if following else "-",
            names[key],
            item.schedule_id,
        )
    return table


def _moment(moment: datetime, zone: "ZoneInfo") -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S} {zone.key}"
