"""A run on a cluster as the terminal shows it: its steps, why any failed, what it found, and the exit code of that."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flprivacy.core.errors import EXIT_INTERRUPTED, EXIT_POLICY, EXIT_RUN_FAILED, TrackingError, ended_with

if TYPE_CHECKING:
    from flprivacy.cluster.api import Cluster
    from flprivacy.cluster.causes import Causes
    from flprivacy.cluster.runs import RunStatus

_VERDICTS = {"check-policy", "check-change", "check-dp-policy"}  # the last steps: when they fail, there is a result


def follow(cluster: "Cluster", run_id: str, steps: tuple[str, ...], *, wait: bool, poll: float, name: str) -> None:
    """Show a run until it ends, if that is wanted, and end the command with the run's result."""
    from flprivacy.cluster.api import ClusterError
    from flprivacy.cluster.watching import watch_run
    from flprivacy.launch.progress import console

    link = cluster.run_link(run_id)
    click.echo(f"run:        {name} · {run_id}\n            {link}")
    if not wait:
        return
    try:
        status = watch_run(cluster, run_id, steps, console(), every_seconds=poll)
    except KeyboardInterrupt:
        again = f"'flprivacy runs watch {run_id}' shows it again, 'flprivacy runs stop {run_id}' stops it"
        click.echo(f"stopped watching; the run goes on: {link}\n{again}", err=True)
        raise SystemExit(EXIT_INTERRUPTED) from None
    except ClusterError as error:
        raise ClusterError(f"lost sight of the run, which goes on: {link} ({error})") from error
    show_end(cluster, status)


def show_end(cluster: "Cluster", status: "RunStatus") -> None:
    """Show how a run ended: what it found, why steps failed, where to look; end the command unless it succeeded."""
    from flprivacy.cluster.causes import read_causes
    from flprivacy.cluster.runs import SUCCEEDED
    from flprivacy.cluster.watching import mlflow_lines

    succeeded, policy = status.state == SUCCEEDED, False
    if succeeded or (status.failed and set(status.failed) <= _VERDICTS):
        _show_found(status.run_id)
    if not succeeded:
        causes = read_causes(status.run_id, cluster.namespace)
        policy = bool(causes.failed) and all(cause.text.endswith(ended_with(EXIT_POLICY)) for cause in causes.failed)
        show_causes(status, causes)
    for line in mlflow_lines(status.run_id, status.links):
        click.echo(f"MLflow:     {line}")
    click.echo(f"{status.state.lower()}: {cluster.run_link(status.run_id)}")
    if not succeeded:
        raise SystemExit(EXIT_POLICY if policy else EXIT_RUN_FAILED)


def show_causes(status: "RunStatus", causes: "Causes") -> None:
    """Print why steps failed or wait: by Kubernetes where it was asked, else by Kubeflow Pipelines."""
    told = {cause.step for cause in causes.failed}
    for cause in causes.failed:
        click.echo(f"failed:     {cause}", err=True)
        if cause.log:
            click.echo(f"            {cause.log}", err=True)
    for cause in causes.waiting:
        click.echo(f"waiting:    {cause}", err=True)
    for failure in status.failures:
        if failure.partition(":")[0] not in told:
            click.echo(f"failed:     {failure}", err=True)
    if causes.unread:
        click.echo(f"            as Kubeflow Pipelines tells it; Kubernetes knows more, but {causes.unread}", err=True)
        click.echo(f"its pods:   kubectl get pods -A -l pipeline/runid={status.run_id}", err=True)


def _show_found(run_id: str) -> None:
    """Print the table and the verdicts of the audit that a run filed in MLflow, if MLflow can be asked from here."""
    from flprivacy.cluster.watching import TRACKING_VARIABLE
    from flprivacy.core.artifacts import AUDIT_FILE
    from flprivacy.core.audit import Audit
    from flprivacy.core.errors import AuditError
    from flprivacy.launch.progress import console
    from flprivacy.launch.results import show_audit

    if not os.environ.get(TRACKING_VARIABLE):
        return
    from flprivacy.tracking.history import fetch_audit, filed_by

    try:
        filed = filed_by(run_id)
        if not filed:
            return
        with tempfile.TemporaryDirectory() as place:
            folder = fetch_audit(filed[0].run_id, filed[0].digest, Path(place))
            show_audit(Audit.read(folder / AUDIT_FILE), console())
    except (TrackingError, AuditError) as error:
        click.echo(f"result:     not read from MLflow: {error}", err=True)
