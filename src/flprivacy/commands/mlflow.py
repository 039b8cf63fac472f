"""``flprivacy mlflow`` and ``flprivacy ui``: what was filed in MLflow."""

from pathlib import Path

import click

from flprivacy.commands.console import console


@click.group()
def mlflow() -> None:
    """File audits in MLflow."""


@mlflow.command("sync")
@click.option("--audit", required=True, type=click.Path(path_type=Path), help="Folder of audit.json.")
@click.option("--report", required=True, type=click.Path(path_type=Path), help="Folder of report.html and its figures.")
def mlflow_sync(audit: Path, report: Path) -> None:
    """Log an audit that could not be logged when it was made. Logging it twice does no harm.

    \b
    Example:
      flprivacy mlflow sync --audit .flprivacy/reports/demo --report .flprivacy/reports/demo
    """
    from flprivacy.launch.direct import drawing_here
    from flprivacy.launch.local import default_tracking
    from flprivacy.steps.log_mlflow import sync

    default_tracking()
    with drawing_here(console()):
        logged = sync(audit=audit, report=report)
    word = "already logged" if logged.found else "logged"
    click.echo(
        f"{word} as run {logged.name} ({logged.run_id}) of experiment {logged.experiment} at {logged.tracking_uri}"
    )


@click.command()
@click.option("--port", default=5000, show_default=True, help="Port on this machine.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def ui(port: int, host: str) -> None:
    """Open the MLflow UI on what was run here.

    \b
    Example:
      flprivacy ui --port 5001
    """
    from flprivacy.launch.local import serve_ui

    raise SystemExit(serve_ui(host, port))
