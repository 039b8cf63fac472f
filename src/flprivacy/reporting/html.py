"""The report: one HTML file that works offline, without script and without fetching anything.

It has no links either, not even to its own sections: in the sandboxed ``srcdoc`` frame of the KFP interface such a
link loads the whole interface into the frame.
"""

import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from flprivacy.core.artifacts import FIGURES_FOLDER, PATIENTS_PAGE, REPORT_FILE
from flprivacy.core.audit import HONEST_SEEDS, INCONCLUSIVE, LEAK, NO_LEAK, Audit
from flprivacy.core.change import AuditChange
from flprivacy.core.generator_audit import GeneratorAudit
from flprivacy.core.publish import publish_file
from flprivacy.reporting import advice, asides, changes, failures, findings, membership, sentences, tables, words
from flprivacy.reporting import generator as generators
from flprivacy.reporting.figures.generator import figures_of
from flprivacy.reporting.figures.plates import GENERATOR, Plate, plates
from flprivacy.reporting.figures.style import data_uri
from flprivacy.reporting.provenance import as_yaml, entries, flat

_FILTERS = {
    "access": words.access_name,
    "attribute": words.attribute_name,
    "metric": words.metric_name,
    "number": words.number,
    "p_value": words.p_value,
    "percent": words.percent,
    "signed": words.signed,
    "unit": words.unit,
}
_DOTS_PER_INCH = 120
_SIZES = {"sites": "hospitals", "patients": "patients", "train_scans": "training scans"}


def write_report(
    audit: Audit,
    path: Path,
    *,
    change: AuditChange | None = None,
    images: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the report of an audit, atomically, as one self-contained HTML file.

    Args:
        audit: what was found.
        path: the file.
        change: what changed since the last audit; None: nothing is said of it.
        images: of :func:`flprivacy.reporting.figures.plates.draw_figures`; those that lack are drawn.

    Raises:
        StorageError: the folder cannot be created or is not writable.
    """
    write_page(render(audit, change, written=f"{date.today():%-d %B %Y}", images=images), path)


def render(
    audit: Audit,
    change: AuditChange | None = None,
    *,
    written: str = "",
    images: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the report as HTML, with the date that it was ``written``. What comes from the audit is escaped."""
    known = audit.summaries
    drawn = _drawn(plates(audit), images)
    context: dict[str, object] = {
        "audit": audit,
        "change": change,
        "written": written,
        "coverage": words.interval_name(audit),
        "warnings": {s.name: text for s in known if (text := words.tensor_warning(s))},
        "guarantees": {s.name: text for s in known if (text := words.guarantee(s))},
        "useless": advice.useless(audit),
        "in_short": {t.name: text for t in findings.targets(audit) if (text := advice.in_short(t))},
        "meanings": {t.name: text for t in findings.targets(audit) if (text := advice.topology_meaning(t))},
        "facts": _facts(audit),
        "of_nobody": bool(audit.config.get("cohort")),  # the study made it; a cohort that is given has no such section
        "seeds": sorted({m.n_seeds for m in audit.metrics}),
        "drawn": drawn,
        "generator": audit.generator.without_patients() if audit.generator is not None else None,
        "generator_pictures": [(plate.title, image) for plate, image in drawn.get(GENERATOR, [])],
    }
    return render_page("report.html.j2", context)


def render_page(template: str, context: dict[str, object]) -> str:
    """Return a page as HTML, with everything from ``context`` escaped."""
    environment = Environment(
        loader=PackageLoader("flprivacy.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    environment.globals.update(
        advice=advice,
        asides=asides,
        changes=changes, failures=failures, findings=findings, generators=generators, membership=membership,
        sentences=sentences, tables=tables, words=words,
        honest_seeds=HONEST_SEEDS,
        as_yaml=as_yaml, entries=entries, flat=flat, interval=words.interval, glyphs=words.GLYPHS,
        verdict_class=_verdict_class,
    )  # fmt: skip
    return environment.get_template(template).render(context)


def write_page(text: str, path: Path) -> None:
    """Write a page atomically; as ASCII with character references, which every charset a server assumes agrees on.

    Raises:
        StorageError: the folder cannot be created or is not writable.
    """
    with publish_file(path) as partial:
        partial.write_bytes(text.encode("ascii", "xmlcharrefreplace"))


def _drawn(found: tuple[Plate, ...], images: Mapping[str, str]) -> dict[str, list[tuple[Plate, str]]]:
    """Return section -> its plates with their images."""
    sections: dict[str, list[tuple[Plate, str]]] = {}
    for plate in found:
        sections.setdefault(plate.section, []).append((plate, images.get(plate.name) or data_uri(plate.draw())))
    return sections


def _facts(audit: Audit) -> list[str]:
    """Return what a reader must know about the size of the audit, as short phrases."""
    size = [f"{audit.cohort[what]} {name}" for what, name in _SIZES.items() if what in audit.cohort]
    facts = [f"Cohort {audit.cohort_name}{': ' if size else ''}{', '.join(size)}"]
    if audit.metrics:
        largest = max(audit.metrics, key=lambda m: m.n_scans)
        facts.append(f"attacks tried on {largest.n_scans} scans of {largest.n_patients} patients held out of training")
        fractions = [words.percent(f) for f in sorted({m.attack.fraction for m in audit.metrics})]
        facts.append(f"attackers who have {words.listed(fractions, 'or')} of the training scans, of other patients")
        seeds = [str(n) for n in sorted({m.n_seeds for m in audit.metrics})]
        facts.append(f"each attack made {words.listed(seeds, 'or')} times")
    return facts


def _verdict_class(verdict: str) -> str:
    """Return the CSS class of a verdict, one of three whatever the audit holds."""
    return {LEAK: "leak", INCONCLUSIVE: "open", NO_LEAK: "none"}.get(verdict, "unjudged")


def write_generator_pages(audit: GeneratorAudit, folder: Path) -> None:
    """Write the page of a generator, and the auditors', which shows patients' scans unless all are phantoms.

    The former, ``report.html``, shows no picture of a patient; its figures are written as PNG files as well.

    Args:
        audit: what was found.
        folder: of both pages, and of the folder of figures.

    Raises:
        StorageError: the folder cannot be created or is not writable.
    """
    shown = audit.without_patients()
    figures = {name: (title, draw()) for name, (title, draw) in figures_of(shown).items()}
    write_page(_generator_page(shown, dict(figures.values())), folder / REPORT_FILE)
    (folder / FIGURES_FOLDER).mkdir(exist_ok=True)
    for name, (_, figure) in figures.items():
        figure.savefig(folder / FIGURES_FOLDER / f"{name}.png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    if audit.phantoms:
        shutil.copyfile(folder / REPORT_FILE, folder / PATIENTS_PAGE)
    else:
        pictures = {title: draw() for title, draw in figures_of(audit).values()}
        write_page(_generator_page(audit, pictures, of_patients=True), folder / PATIENTS_PAGE)


def _generator_page(audit: GeneratorAudit, figures: Mapping[str, Figure], *, of_patients: bool = False) -> str:
    context: dict[str, object] = {
        "generator": audit,
        "generator_pictures": [(title, data_uri(figure)) for title, figure in figures.items()],
        "of_patients": of_patients,
        "provenance": entries(audit.provenance),
    }
    return render_page("generator_page.html.j2", context)
