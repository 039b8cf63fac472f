"""``flprivacy mlflow`` and ``flprivacy ui``: what is logged in MLflow."""

from pathlib import Path

import click

from flprivacy.core.errors import ConfigError
from flprivacy.core.extras import require_extras


@click.group()
def mlflow() -> None:
    """File audits in MLflow."""


@mlflow.command("sync")
@click.option("--store", default="", help="Store whose spool to log [default: $FLPRIVACY_STORE or .flprivacy/store].")
@click.option("--audit", type=click.Path(path_type=Path), help="Log this folder's audit.json instead of the spool.")
@click.option("--report", type=click.Path(path_type=Path), help="Folder of its report.html and figures.")
def mlflow_sync(store: str, audit: Path | None, report: Path | None) -> None:
    """Log results that could not be logged when they were computed. Repeating it is harmless, even concurrently.

    A result is removed from the spool once the server has returned it unchanged. What waits in a store behind s3:// or
    gs:// is only logged to a server: set MLFLOW_TRACKING_URI to its address.

    \b
    Examples:
      flprivacy mlflow sync
      flprivacy mlflow sync --store s3://bucket/store
      flprivacy mlflow sync --audit .flprivacy/reports/demo --report .flprivacy/reports/demo
    """
    from flprivacy.launch.local import default_tracking
    from flprivacy.launch.progress import drawing_here
    from flprivacy.tracking.results import sync, sync_spool
    from flprivacy.tracking.spool import spool_uri

    if (audit is None) != (report is None):
        raise ConfigError("--audit and --report belong together; give both, or neither to log the spool")
    default_tracking()
    with drawing_here():
        if audit is not None and report is not None:
            logged = [sync(audit=audit, report=report)]
        else:
            logged = list(sync_spool(store))
    for one in logged:
        word = "already logged" if one.found else "logged"
        click.echo(f"{word} as run {one.name} ({one.run_id}) of experiment {one.experiment} at {one.tracking_uri}")
    if not logged:
        click.echo(f"nothing waits to be logged in {spool_uri(store)}")


@click.command()
@click.option("--port", default=5000, show_default=True, help="Port on this machine.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def ui(port: int, host: str) -> None:
    """Open the MLflow UI on the runs of this machine.

    \b
    Example:
      flprivacy ui --port 5001
    """
    require_extras("tracking")
    from flprivacy.launch.local import serve_ui

    raise SystemExit(serve_ui(host, port))
