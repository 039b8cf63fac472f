"""A generator's own page, for a run without targets; and the auditors', which shows patients."""

from pathlib import Path

from flprivacy.core.generator_audit import GeneratorAudit
from flprivacy.reporting.figures.embed import data_uri
from flprivacy.reporting.figures.generator import figures_of
from flprivacy.reporting.html import render_page, write_page
from flprivacy.reporting.provenance import entries

_DOTS_PER_INCH = 120


def write_generator_page(audit: GeneratorAudit, path: Path, *, figures: Path | None = None) -> None:
    """Write the page of a generator, atomically, as one HTML file, without a picture of a patient.

    Args:
        audit: what was found.
        path: the file.
        figures: folder to write the page's figures to as well, as PNG files; None: they are on the page only.

    Raises:
        StorageError: a folder cannot be created or is not writable.
    """
    shown = audit.without_patients()
    _write(shown, path, of_patients=False)
    if figures is not None:
        figures.mkdir(parents=True, exist_ok=True)
        for name, (_, draw) in figures_of(shown).items():
            draw().savefig(figures / f"{name}.png", dpi=_DOTS_PER_INCH, metadata={"Software": None})


def write_patients_page(audit: GeneratorAudit, path: Path) -> None:
    """Write the auditors' page of a generator, which shows patients' scans unless all are phantoms.

    Raises:
        StorageError: the folder cannot be created or is not writable.
    """
    _write(audit, path, of_patients=not audit.phantoms)


def _write(audit: GeneratorAudit, path: Path, *, of_patients: bool) -> None:
    context: dict[str, object] = {
        "generator": audit,
        "generator_pictures": [(title, data_uri(draw())) for title, draw in figures_of(audit).values()],
        "of_patients": of_patients,
        "provenance": entries(audit.provenance),
    }
    write_page(render_page("generator_page.html.j2", context), path)
