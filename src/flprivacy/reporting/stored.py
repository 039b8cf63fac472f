"""The report of an audit, from the store where it was written before."""

import functools
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from flprivacy.core.artifacts import AUDIT_FILE, CHANGE_FILE, FIGURES_FOLDER, REPORT_FILE, VERDICTS_FILE
from flprivacy.core.audit import Audit
from flprivacy.core.change import AuditChange
from flprivacy.core.digests import digest_file
from flprivacy.core.tensorflow_environment import available_cores
from flprivacy.reporting.markdown import verdicts_page
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import open_store


def deliver_report(audit: Path, report: Path, *, store: str) -> None:
    """Write the self-contained HTML report, its figures, and the verdicts alone as Markdown.

    Args:
        audit: folder of ``audit.json``, and of ``change.json`` where there is one.
        report: folder to write: ``report.html``, ``verdicts.md`` and ``figures/*.png``.
        store: location of finished artifacts.

    Raises:
        AuditError: the audit is damaged.
    """
    file, changed = audit / AUDIT_FILE, audit / CHANGE_FILE
    inputs = {"audit": digest_file(file)} | ({"change": digest_file(changed)} if changed.exists() else {})

    def make(work: Path, folder: Path) -> None:
        del work  # seconds of drawing: nothing to resume
        from flprivacy.reporting.html import write_report  # imports matplotlib: only when there is work

        images = _drawn(file, folder / FIGURES_FOLDER)
        change, found = AuditChange.read(changed) if changed.exists() else None, Audit.read(file)
        write_report(found, folder / REPORT_FILE, change=change, images=images)
        (folder / VERDICTS_FILE).write_text(verdicts_page(found, change))

    deliver(open_store(store).build("report", inputs, make), report)


def _drawn(file: Path, folder: Path) -> dict[str, str]:
    """Draw the figures of an audit's file into a folder by all cores; return name -> image for the page."""
    others = available_cores() - 1  # this process draws, too: it has loaded matplotlib for the page
    draw = functools.partial(_draw, file, folder, 1 + others)
    if not others:
        return draw(0)
    with ProcessPoolExecutor(others, get_context("spawn")) as pool:
        elsewhere = pool.map(draw, range(1, 1 + others))
        return {name: image for images in (draw(0), *elsewhere) for name, image in images.items()}


def _draw(file: Path, folder: Path, parts: int, part: int) -> dict[str, str]:
    from flprivacy.reporting.figures.plates import draw_figures

    return draw_figures(Audit.read(file), folder, part=part, parts=parts)
