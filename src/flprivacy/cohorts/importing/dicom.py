"""A tree of DICOM files: which series there are, which of them are taken, and how each becomes a stack."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from pydicom.datadict import tag_for_keyword

from flprivacy.cohorts.importing.candidates import asked_shape, candidate, leaving_out
from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.dicom_files import Slice, is_dicom
from flprivacy.cohorts.importing.dicom_header import Header, read_header
from flprivacy.cohorts.importing.dicom_series import Series, series_stack
from flprivacy.cohorts.importing.found import Candidate, Found, LeftOut, ScanError
from flprivacy.cohorts.importing.pseudonyms import Pseudonyms
from flprivacy.cohorts.importing.stack import Stack
from flprivacy.cohorts.importing.table import ScanTable, TableRow
from flprivacy.cohorts.workers import in_order
from flprivacy.core.errors import CohortError, ConfigError
from flprivacy.core.progress import progress

_WORTH_FILES, _CHUNK_FILES = 2000, 64  # fewer files are read before other processes have started
_KEYWORD = re.compile(r"[A-Z][A-Za-z0-9]{1,63}")
# Tags that name a person, a visit or a device's owner; no site or label is in them.
_IDENTIFYING = ("Patient", "Accession", "Birth", "Physician", "Operator", "Date", "Time", "Comment")


@dataclass(frozen=True, eq=False)
class _Ready:
    """A series that can become a volume."""

    header: Header
    row: TableRow | None
    stack: Stack
    slices: Sequence[Slice]


def find_dicom(
    root: Path, *, config: ImportConfig, pseudonyms: Pseudonyms, table: ScanTable | None = None, workers: int = 1
) -> Found:
    """List the CT series of a tree.

    Args:
        root: a folder; links in it are not followed.
        config: settings.
        pseudonyms: turn identifiers into pseudonyms.
        table: says site, sex, age, label and split of series, studies or patients; series that are not in it are left
            out, and what it says goes before the tags.
        workers: processes that read headers, where there are many.

    Raises:
        CohortError: the folder cannot be read.
        ConfigError: there is no way to tell sites, or a tag's keyword is unknown or names a person.
    """
    shape = asked_shape(config)
    keywords = [_keyword(name) for name in (config.site_tag, config.label_tag) if name]
    if not (config.site or config.site_tag or (table and "site" in table.columns)):
        raise ConfigError("no way to tell sites; name one for all scans, a DICOM tag, or a table with a column 'site'")
    counts: Counter[str] = Counter()
    left_out: list[LeftOut] = []
    series = _collect(root, keywords, pseudonyms, counts, left_out, workers)
    ready: list[_Ready] = []
    for uid in sorted(series):
        with leaving_out(pseudonyms.scan(uid), left_out):
            header, stack, slices = series_stack(series[uid], keywords, config, counts)
            ready.append(_Ready(header, _row_of(header, table), stack, slices))
    candidates: list[Candidate] = []
    best = _most_slices(ready)
    for scan in ready:
        with leaving_out(pseudonyms.scan(scan.header.series), left_out):
            if config.series == "most-slices" and best[_visit(scan)] is not scan:
                raise ScanError("another series of the study was taken")
            candidates.append(_candidate(scan, config, pseudonyms))
    if table is not None:
        counts.update(table.counts)
        found = {_key(next(iter(parts)), table) for parts in series.values()}
        counts["rows of the table that found no series"] = len(set(table.rows) - found)
    return Found(
        source="dicom",
        shape=shape,
        candidates=tuple(candidates),
        left_out=tuple(left_out),
        counts=dict(counts),
        class_names=config.classes,
        notes=table.notes if table else (),
    )


def _keyword(name: str) -> str:
    if not _KEYWORD.fullmatch(name) or tag_for_keyword(name) is None:
        raise ConfigError(f"tag {name!r} is not a DICOM keyword; give one such as InstitutionName or StationName")
    if any(part in name for part in _IDENTIFYING) or name.endswith("UID"):
        raise ConfigError(f"tag {name!r} tells persons or visits apart; choose one of the site, or use a table")
    return name


def _files(root: Path) -> Iterator[tuple[Path, bool]]:
    """Yield everything that is no folder, in a fixed order, and whether it is a regular file. Follows no link."""
    folders = [root]  # not by recursion: a tree may be deeper than that goes
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise CohortError(
                f"{root}: a folder below it cannot be read ({error.strerror}); check its permissions"
            ) from None
        folders += [Path(entry.path) for entry in reversed(found) if entry.is_dir(follow_symlinks=False)]
        for entry in found:
            if not entry.is_dir(follow_symlinks=False):
                yield Path(entry.path), entry.is_file(follow_symlinks=False)


def _collect(
    root: Path,
    keywords: Sequence[str],
    pseudonyms: Pseudonyms,
    counts: Counter[str],
    left_out: list[LeftOut],
    workers: int,
) -> dict[str, Series]:
    if not root.is_dir():
        raise CohortError(f"{root}: not a folder; give the one that holds the DICOM files")
    series: dict[str, Series] = defaultdict(dict)
    headers: dict[Header, Header] = {}
    files = list(_files(root))
    workers = 1 if len(files) < _WORTH_FILES else workers
    look = partial(_look, keywords=tuple(keywords))
    found = in_order(look, files, workers=workers, chunk=_CHUNK_FILES, what="reading DICOM headers")
    with progress("reading DICOM headers", len(files)) as counter:
        for (path, _), result in zip(files, found, strict=True):
            counts["files"] += 1
            counter.advance()
            if isinstance(result, str):
                counts[result] += 1
            elif isinstance(result, LeftOut):
                left_out.append(replace(result, item=pseudonyms.scan(os.path.relpath(path, root))))
            else:
                header, slices = result
                header = headers.setdefault(header, header)
                series[header.series].setdefault(header, []).extend(slices)
    counts["series"] = len(series)
    return series


def _look(entry: tuple[Path, bool], *, keywords: Sequence[str]) -> str | LeftOut | tuple[Header, tuple[Slice, ...]]:
    """Return what a file holds: its header and slices, why it is left out, or as what it only counts."""
    path, regular = entry
    try:
        if not regular or not is_dicom(path):
            return "files that are not DICOM"
        return read_header(path, keywords)
    except ScanError as error:
        return "DICOM files that are not CT" if error.reason == "not CT" else error.left_out("")


def _key(header: Header, table: ScanTable) -> str:
    return {"series_uid": header.series, "study_uid": header.study, "patient_id": header.patient}[table.key]


def _row_of(header: Header, table: ScanTable | None) -> TableRow | None:
    if table is None:
        return None
    row = table.rows.get(_key(header, table))
    if row is None:
        raise ScanError("not in the table")
    return row


def _visit(scan: _Ready) -> tuple[str, str]:
    """Return what tells studies apart: some anonymisers give all patients one study UID."""
    return scan.header.study or scan.header.series, scan.header.patient


def _most_slices(ready: Sequence[_Ready]) -> dict[tuple[str, str], _Ready]:
    """Return, for each study, its series with most slices; of several such, the first by series UID."""
    best: dict[tuple[str, str], _Ready] = {}
    for scan in ready:
        if _visit(scan) not in best or len(scan.slices) > len(best[_visit(scan)].slices):
            best[_visit(scan)] = scan
    return best


def _candidate(scan: _Ready, config: ImportConfig, pseudonyms: Pseudonyms) -> Candidate:
    """Return the scan of a series: what the table says of it goes before what its tags say."""
    header, row = scan.header, scan.row or TableRow(number=0)
    values = dict(zip([name for name in (config.site_tag, config.label_tag) if name], header.values, strict=True))
    site = row.site or config.site
    if not site and values.get(config.site_tag):
        site = pseudonyms.site(values[config.site_tag])
    row = replace(
        row,
        patient_id=row.patient_id or header.patient,
        site=site,
        label=row.label or values.get(config.label_tag, ""),
        sex=row.sex or header.sex,
        age_years=header.age_years if row.age_years is None else row.age_years,
    )
    return candidate(
        header.series,
        row,
        scan.stack,
        config=config,
        pseudonyms=pseudonyms,
        source="dicom",
        state=[f"{piece.path}\0{piece.frame}\0{piece.stamp}" for piece in scan.slices],
        notes=_notes(header, scan.stack),
    )


def _notes(header: Header, stack: Stack) -> tuple[str, ...]:
    notes = []
    if stack.tilted:
        notes.append(f"gantry tilt of {stack.tilt_degrees:.1f} degrees, straightened")
    elif abs(header.tilt_degrees) > 0.5:
        notes.append("a gantry tilt is stated, but slices are not tilted")
    normal = np.cross(header.orientation[:3], header.orientation[3:])
    if np.abs(normal).max() < 0.9998:  # one degree
        notes.append("slices oblique to the patient's axes, turned")
    elif abs(normal[2]) < 0.9998:
        notes.append("slices not axial, turned")
    if header.patient_position[2:] in ("P", "DL", "DR"):
        notes.append("patient not supine")
    if header.placeholder_age:
        notes.append("the age is one that anonymisers write, taken as unknown")
    if stack.missing:
        notes.append(f"{stack.missing} missing slices, interpolated")
    return tuple(notes)
