"""What a person sees in the terminal at the end of a run."""

import os
import shutil
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flprivacy.core.artifacts import AUDIT_FILE, CHANGE_FILE, CHECK_FILE, REPORT_FILE
from flprivacy.core.audit import Audit
from flprivacy.core.change import AuditChange
from flprivacy.core.cohort import Cohort
from flprivacy.core.dp_check import DpCheck
from flprivacy.launch.local import LocalRun
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import home


def show_audit(audit: Audit, console: Console) -> None:
    """Print the headline and the summary table of an audit."""
    from flprivacy.reporting.terminal import headline, summary_table

    console.print()
    console.print(summary_table(audit))
    for line in headline(audit):
        console.print(f"• {line}", highlight=False, markup=False)


def show_result(result: LocalRun, *, name: str, console: Console) -> None:
    """Put the run's audit and report where they are found by name, and print what was found and where it is."""
    folder = home() / "reports" / name
    deliver(result.outputs["report"], folder)
    shutil.copytree(result.outputs["audit"], folder, dirs_exist_ok=True)
    show_audit(Audit.read(folder / AUDIT_FILE), console)
    if (folder / CHANGE_FILE).exists():
        show_change(AuditChange.read(folder / CHANGE_FILE), console)
    _show_end(result, folder, console)


def show_change(change: AuditChange, console: Console) -> None:
    """Print what changed since the last audit."""
    from flprivacy.reporting.changes import change_lines, change_table

    table = change_table(change)
    if table is not None:
        console.print(table)
    for line in change_lines(change):
        console.print(f"• {line}", highlight=False, markup=False)


def show_re_audit(result: LocalRun, *, name: str, console: Console) -> None:
    """Show a re-audit's results, or that there was nothing to audit."""
    if result.outputs:
        show_result(result, name=name, console=console)
    else:
        _show_end(result, None, console)


def show_check(result: LocalRun, *, name: str, console: Console) -> None:
    """Put the check of private training and its report where they are found by name, and print the verdict."""
    from flprivacy.reporting.dp_check import check_lines, check_table

    folder = home() / "reports" / f"{name}-dp-check"
    deliver(result.outputs["check"], folder)
    found = DpCheck.read(folder / CHECK_FILE)
    console.print()
    console.print(check_table(found))
    for line in check_lines(found):
        console.print(f"• {line}", highlight=False, markup=False)
    _show_end(result, folder, console)


def _show_end(result: LocalRun, folder: Path | None, console: Console) -> None:
    console.print()
    for note in result.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    for warning in result.warnings:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)
    console.print(f"log:    {_visible(result.log)}", highlight=False, soft_wrap=True)
    if folder is not None:
        console.print(f"[bold]report: {_visible(folder / REPORT_FILE)}[/bold]", highlight=False, soft_wrap=True)


def _visible(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def cohort_table(cohort: Cohort) -> Table:
    """Return a table of a cohort's sites: scans by split, classes, sexes and ages."""
    meta, manifest = cohort.meta, cohort.manifest
    title = (
        f"{meta.name}: {len(manifest)} scans of {' x '.join(map(str, meta.shape))} voxels, digest {meta.digest[:12]}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("site")
    for column in ("train", "test", "patients", *meta.class_names, "female", "male", "mean age"):
        table.add_column(column, justify="right")
    for site_id, name in enumerate(meta.site_names):
        rows = manifest[manifest["site_id"] == site_id]
        counts = [(rows["split"] == "train").sum(), (rows["split"] == "test").sum(), rows["patient_id"].nunique()]
        counts += [(rows["label"] == label).sum() for label in range(len(meta.class_names))]
        counts += [(rows["sex"] == sex).sum() for sex in ("F", "M")]
        age = rows["age_years"].mean()
        table.add_row(name, *map(str, counts), "unknown" if age != age else f"{age:.0f}")
    return table
