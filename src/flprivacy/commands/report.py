"""``flprivacy report``: render the report of a finished audit again."""

from pathlib import Path

import click


@click.command()
@click.argument("audit", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True, help="File to write."
)
def report(audit: Path, out: Path) -> None:
    """Render the HTML report of a finished audit again, and show its summary table.

    \b
    Example:
      flprivacy report .flprivacy/reports/demo/audit.json --out report.html
    """
    from flprivacy.core.audit import Audit
    from flprivacy.launch.progress import console
    from flprivacy.launch.results import show_audit
    from flprivacy.reporting.html import write_report

    found = Audit.read(audit)
    write_report(found, out)
    show_audit(found, console())
    click.echo(f"report: {out}")
