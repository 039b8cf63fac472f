"""The import report: what was taken, what was left out and why. It holds pseudonyms and counts, no identifiers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.found import LeftOut
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import write_json

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class TakenScan:
    """One scan of the cohort. ``missing`` of its source's ``slices`` were interpolated."""

    scan_id: str
    site: str
    slices: int
    missing: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import did."""

    source: str  # ``dicom``, ``nifti`` or ``reference-pickles``
    config: ImportConfig
    cohort_digest: str  # of the cohort that was written; empty where none was
    sites: dict[str, int]  # name -> scans taken
    patients: int
    unknown: dict[str, int]  # attribute -> scans taken without it
    taken: tuple[TakenScan, ...]  # every scan of the cohort
    left_out: tuple[LeftOut, ...]  # every scan, file or row that was not taken, with the reason
    reasons: dict[str, int] = field(default_factory=dict)  # reason -> how many were left out for it
    counts: dict[str, int] = field(default_factory=dict)  # other facts, such as how many files were looked at
    notes: tuple[str, ...] = ()  # facts about the whole source
    schema_version: int = SCHEMA_VERSION  # version of this format

    def write(self, path: Path) -> None:
        """Write the report atomically as JSON."""
        write_json(path, to_mapping(self))


def count_reasons(left_out: Sequence[LeftOut]) -> dict[str, int]:
    """Return reason -> how many items were left out for it, the most frequent first."""
    return dict(Counter(item.reason for item in left_out).most_common())


def import_tables(report: ImportReport) -> "tuple[Table, ...]":
    """Return what a person reads in the terminal: scans taken by site, and what was left out and why."""
    from rich.markup import escape
    from rich.table import Table

    title = f"taken: {len(report.taken)} scans of {report.patients} patients"
    taken = Table(title=title, title_justify="left")
    for name in ("site", "scans", "with missing slices", "with notes"):
        taken.add_column(name, justify="left" if name == "site" else "right")
    for site, scans in report.sites.items():
        here = [scan for scan in report.taken if scan.site == site]
        taken.add_row(site, str(scans), str(sum(s.missing > 0 for s in here)), str(sum(bool(s.notes) for s in here)))
    tables = [taken]
    notes = Counter(_kind(note) for scan in report.taken for note in scan.notes)
    facts = {**report.counts, **{f"scans of unknown {name}": count for name, count in report.unknown.items() if count}}
    for title, header, rows in (
        (f"left out: {len(report.left_out)}", "reason", report.reasons),
        ("notes on scans", "note", dict(notes.most_common())),
        ("looked at", "what", {name: count for name, count in facts.items() if count}),
    ):
        if rows:
            table = Table(title=title, title_justify="left")
            table.add_column(header)
            table.add_column("count", justify="right")
            for name, count in rows.items():
                table.add_row(name, str(count))
            tables.append(table)
    if report.notes:
        table = Table(title="worth a look", title_justify="left", show_header=False)
        table.add_column("note")
        for note in report.notes:
            table.add_row(escape(note))
        tables.append(table)
    return tuple(tables)


def _kind(note: str) -> str:
    """Return a note without its numbers, so that notes of one kind count together."""
    return " ".join("…" if any(c.isdigit() for c in word) else word for word in note.split())
