"""Step ``write_report``: the HTML report and its figures."""

import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from flprivacy.core.artifacts import AUDIT_FILE, CHANGE_FILE, FIGURES_FOLDER, REPORT_FILE
from flprivacy.core.audit import Audit
from flprivacy.core.change import AuditChange
from flprivacy.core.digests import digest_file
from flprivacy.core.events import ENVIRONMENT_VARIABLE
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import open_store


def write_report(*, audit: Path, store: str, report: Path, page: Path) -> None:
    """Write the self-contained HTML report and its figures.

    Args:
        audit: folder of ``audit.json``, and of ``change.json`` where there is one.
        report: folder to write: ``report.html`` and ``figures/*.png``.
        page: file to write: the report alone, for the UI.
    """
    file, changed = audit / AUDIT_FILE, audit / CHANGE_FILE
    inputs = {"audit": digest_file(file)} | ({"change": digest_file(changed)} if changed.exists() else {})

    def make(work: Path, folder: Path) -> None:
        del work  # seconds of drawing: nothing to resume
        from flprivacy.reporting.html import write_report as write  # imports matplotlib: only when there is work

        found = Audit.read(file)
        with ProcessPoolExecutor(1, get_context("spawn")) as beside:  # drawing takes seconds, on one core
            figures = beside.submit(_write_figures, file, folder / FIGURES_FOLDER)
            write(found, folder / REPORT_FILE, change=AuditChange.read(changed) if changed.exists() else None)
            figures.result()

    deliver(open_store(store).build("report", inputs, make), report)
    shutil.copyfile(report / REPORT_FILE, page)


def _write_figures(file: Path, folder: Path) -> None:
    """Write the figures of an audit's file into a folder, from a process whose progress nobody watches."""
    from flprivacy.reporting.figures.plates import write_figures

    os.environ.pop(ENVIRONMENT_VARIABLE, None)
    write_figures(Audit.read(file), folder)
