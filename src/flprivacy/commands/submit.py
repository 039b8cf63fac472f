"""``flprivacy submit``: a pipeline on a cluster."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import click

from flprivacy.commands.following import follow
from flprivacy.commands.options import PIPELINES, filing, watching, what, where

if TYPE_CHECKING:
    from flprivacy.cluster.api import Cluster
    from flprivacy.launch.parameters import RunOptions


@click.command()
@click.argument("pipeline", type=click.Choice(PIPELINES))
@what
@filing
@click.option("--run-name", default="", help="Name of the run [default: pipeline, date and time].")
@watching
@where
def submit(
    pipeline: str,
    asked: "RunOptions",
    run_name: str,
    wait: bool,
    poll: float,
    connect: Callable[[], "Cluster"],
    **filed: str,
) -> None:
    """Run a pipeline on a cluster with Kubeflow Pipelines, and show its steps until it ends.

    The compiled pipeline is uploaded if its content is not there yet. Interrupting this command does not stop the run.

    \b
    Examples:
      export KFP_ENDPOINT=https://kubeflow.example.org/pipeline
      flprivacy submit study --preset demo
      flprivacy submit privacy_audit --cohort s3://data/cohort --target mine=s3://models/mine.h5,shape=24x256x256
      flprivacy submit study --preset my-study.yaml --store s3://data/flprivacy --param train_gpus=2 --no-wait

    Exit codes: 0 the run succeeded (or was started, with --no-wait), 4 it ended with a result that --fail-on-leak or
    --fail-on-worse does not tolerate, 3 it failed otherwise or was cancelled or skipped, 2 an error that you can fix,
    130 interrupted while the run goes on.
    """
    from flprivacy.cluster.parameters import run_parameters
    from flprivacy.cluster.runs import start_run
    from flprivacy.cluster.versions import ensure_version, start_of
    from flprivacy.launch.compiled import read_compiled

    compiled = read_compiled(pipeline)
    parameters = run_parameters(compiled, asked)
    cluster = connect()
    version = ensure_version(cluster, compiled)
    word = "uploaded" if version.uploaded else "unchanged"
    click.echo(f"pipeline:   {compiled.title} · version {version.name} ({word})")
    start = start_of(cluster, compiled, version, parameters, name=run_name or run_title(pipeline), **filed)
    run_id = start_run(cluster, start)
    click.echo(f"experiment: {filed['experiment'] or compiled.title}")
    follow(cluster, run_id, compiled.steps, wait=wait, poll=poll, name=start.name)


def run_title(subject: str) -> str:
    """Return the name of a run that was given none."""
    return f"{subject} {datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"
