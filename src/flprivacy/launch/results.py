"""Show what a run found, and where its report is."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flprivacy.cohorts.remote import hand_over
from flprivacy.core.artifacts import (
    AUDIT_FILE,
    AUDITORS_ONLY,
    CHANGE_FILE,
    CHECK_FILE,
    GENERATOR_AUDIT_FILE,
    REPORT_FILE,
)
from flprivacy.core.audit import Audit
from flprivacy.core.change import AuditChange
from flprivacy.core.dp_check import DpCheck
from flprivacy.core.generator_audit import GeneratorAudit
from flprivacy.launch.local import LocalRun
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import home
from flprivacy.targets.lineage import PRIVATE_FOLDER


def show_run(result: LocalRun, *, name: str, screen: Console) -> None:
    """Put what a run found where it is found by name, the report's folder, and print it and where it is.

    A result without outputs is that of a run that had nothing to audit.
    """
    from flprivacy.reporting.changes import change_lines, change_table
    from flprivacy.reporting.dp_check import check_lines, check_table
    from flprivacy.reporting.generator import first_line

    folder = None
    if "check" in result.outputs:
        folder = home() / "reports" / f"{name}-dp-check"
        deliver(result.outputs["check"], folder)
        check = DpCheck.read(folder / CHECK_FILE)
        screen.print()
        _show(check_table(check), check_lines(check), screen)
    elif "generator_audit" in result.outputs:
        folder = home() / "generators" / name
        _keep_generator(result.outputs, folder)
        screen.print()
        found = GeneratorAudit.read(folder / GENERATOR_AUDIT_FILE)
        _show(None, [first_line(found)], screen)
        for what in ("generator", "synthetic"):
            screen.print(f"{what}: {_shown(folder / what)}", highlight=False, soft_wrap=True)
    elif result.outputs:
        folder = home() / "reports" / name
        deliver(result.outputs["report"], folder)
        # Reports are handed on: who is most exposed stays in the store.
        shutil.copytree(
            result.outputs["audit"], folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*AUDITORS_ONLY)
        )
        show_audit(Audit.read(folder / AUDIT_FILE), screen)
        if (folder / CHANGE_FILE).exists():
            change = AuditChange.read(folder / CHANGE_FILE)
            _show(change_table(change), change_lines(change), screen)
    screen.print()
    for note in result.notes:
        screen.print(note, highlight=False, markup=False, soft_wrap=True)
    for warning in result.warnings:
        screen.print(f"[yellow]warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)
    screen.print(f"log:    {_shown(result.log)}", highlight=False, soft_wrap=True)
    if folder is not None:
        screen.print(f"[bold]report: {_shown(folder / REPORT_FILE)}[/bold]", highlight=False, soft_wrap=True)


def _keep_generator(outputs: Mapping[str, Path], folder: Path) -> None:
    """Put a generator and its synthetic cohort, as they may be published, and its report where they are found by name.

    The report is for auditors: it counts patients exactly. The generator's private part and the page of patients'
    pictures stay in the store.
    """
    deliver(outputs["generator_audit"], folder)
    for private in AUDITORS_ONLY:
        (folder / private).unlink(missing_ok=True)
    shutil.copytree(outputs["generator"], folder / "generator", ignore=shutil.ignore_patterns(PRIVATE_FOLDER))
    hand_over(outputs["synthetic"], folder / "synthetic")


def show_audit(audit: Audit, screen: Console) -> None:
    """Print the headline and the summary table of an audit."""
    from flprivacy.reporting.terminal import headline, summary_table

    screen.print()
    _show(summary_table(audit), headline(audit), screen)


def _show(table: Table | None, lines: Iterable[str], screen: Console) -> None:
    if table is not None:
        screen.print(table)
    for line in lines:
        screen.print(f"• {line}", highlight=False, markup=False)


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
