"""The table that says what the files do not: site, sex, age, label and split of each scan.

CSV or Parquet, one row a scan (or a patient). One column says which: ``file`` for NIfTI; for DICOM the first of
``series_uid``, ``study_uid`` and ``patient_id`` that there is. All values are read as text and checked here. What
spreadsheets leave in a table is understood: a line ``sep=;``, empty rows, nameless columns of nothing or of the rows'
numbers, ``\\`` in paths, and letters with accents in either Unicode form.
"""

import codecs
import csv
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flprivacy.cohorts.importing.found import DAMAGE
from flprivacy.cohorts.importing.persons import MAX_AGE_YEARS, age_of, age_unit, means_sex, sex_of
from flprivacy.core.cohort import SYNTHETIC_COLUMN, TEST, TRAIN
from flprivacy.core.errors import CohortError

DICOM_KEYS = ("series_uid", "study_uid", "patient_id")
NIFTI_KEYS = ("file",)
_VALUES = ("patient_id", "site", "sex", "age_years", "label", "split", SYNTHETIC_COLUMN)
_NO = ("", "0", "0.0", "f", "false", "n", "no")
_ALIASES = {
    **dict.fromkeys(("patient", "patientid", "subject", "subject_id", "participant_id"), "patient_id"),
    **dict.fromkeys(("seriesinstanceuid", "series_instance_uid"), "series_uid"),
    **dict.fromkeys(("studyinstanceuid", "study_instance_uid"), "study_uid"),
    **dict.fromkeys(("hospital", "centre", "center", "institution", "institutionname", "institution_name"), "site"),
    **dict.fromkeys(("site_id", "site_name"), "site"),
    **dict.fromkeys(("filename", "file_name", "filepath", "file_path", "path"), "file"),
}
_SPLITS = {"": "", TRAIN: TRAIN, "training": TRAIN, TEST: TEST, "testing": TEST}
_WHOLE = re.compile(r"(\d+)\.0+")  # what whole numbers become in a column with gaps
_POWER = re.compile(r"\d(?:[.,]\d+)?e\+\d\d+", re.IGNORECASE)  # what spreadsheets make of long numbers: 1.23E+12
_FORMULA = re.compile(r'="([^"]*)"')
_SEPARATOR = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # what a spreadsheet writes first to tell itself the delimiter
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_EXACT = 2.0**53  # beyond it a float no longer tells one whole number from the next
_MAX_BYTES, _MAX_ROWS, _MAX_TEXT, _MAX_TITLES = 1 << 28, 5_000_000, 1024, 20


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """What the table says of one scan; an empty text or None where it says nothing."""

    number: int
    patient_id: str = field(default="", repr=False)
    site: str = ""
    sex: str | None = None
    age_years: float | None = None
    label: str = ""
    split: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanTable:
    """A mapping table."""

    path: Path
    key: str  # name of the column that tells scans apart
    columns: tuple[str, ...]  # names of the columns that are used
    unused: tuple[str, ...]  # and of those that are not
    rows: Mapping[str, TableRow] = field(repr=False)  # value of the key column -> what the table says

    @property
    def counts(self) -> dict[str, int]:
        """What the report counts of it."""
        return {"rows of the table": len(self.rows), "columns of the table that are not used": len(self.unused)}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report notes of it: columns that are not used, by name."""
        shown = [repr("".join(c if c.isprintable() else "?" for c in name)[:40]) for name in self.unused[:20]]
        return (f"columns of the table that are not used: {', '.join(shown)}",) if shown else ()


def read_table(path: Path, keys: Sequence[str]) -> ScanTable:
    """Read a mapping table.

    Args:
        path: ``.csv`` (comma or semicolon, UTF-8) or ``.parquet``.
        keys: possible key columns, the most specific first.

    Raises:
        CohortError: the file is missing, damaged or too large, lacks a column, repeats a key, or holds a value that
            cannot be right. Names the row number and the column, never a value.
    """
    found, records = _read_parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _read_csv(path, keys)
    names = _known_names(found)
    unit = next((age_unit(shown) for shown, name in zip(found, names, strict=True) if name == "age_years"), "")
    key = next((name for name in keys if name in names), None)
    if key is None:
        raise CohortError(f"{path}: has no column {' or '.join(map(repr, keys))} to find scans by; add one")
    if len(set(names)) != len(names):
        raise CohortError(f"{path}: a column's name repeats; rename one")
    columns = tuple(name for name in names if name in (key, *_VALUES))
    rows: dict[str, TableRow] = {}
    for number, record in enumerate(records, start=1):
        if number > _MAX_ROWS:
            raise CohortError(f"{path}: holds more than {_MAX_ROWS} rows; split the import")
        values = {name: text for name, text in zip(names, record, strict=False) if name in columns}
        identifier = values[key].replace("\\", "/") if key in NIFTI_KEYS else values[key]
        if not identifier or identifier in rows:
            state = "empty" if not identifier else "the same as in an earlier row"
            raise CohortError(f"{path}: {key!r} of row {number} is {state}; give every row one of its own")
        rows[identifier] = _row(values, number, path, unit or "y")
    if not rows:
        raise CohortError(f"{path}: holds no rows; add one a scan")
    unused = tuple(shown for shown, name in zip(found, names, strict=True) if name not in columns)
    return ScanTable(path=path, key=key, columns=columns, unused=unused, rows=rows)


def _known_names(found: Sequence[str]) -> list[str]:
    """Return the columns' names as they are known here: ``Gender`` is ``sex``, unless there is a column ``sex``."""
    names = [name.lower().replace("'s", "").replace(" ", "_") for name in found]
    known: list[str] = []
    for name in names:
        alias = _ALIASES.get(name) or ("sex" if means_sex(name) else "age_years" if age_unit(name) else name)
        known.append(name if alias in names or alias in known else alias)
    return known


def _row(values: Mapping[str, str], number: int, path: Path, unit: str) -> TableRow:
    def wrong(column: str, rule: str) -> CohortError:
        return CohortError(f"{path}: {column!r} of row {number} is not understood; {rule}")

    if values.get(SYNTHETIC_COLUMN, "").lower() not in _NO:
        raise CohortError(
            f"{path}: row {number} names a synthetic scan by column {SYNTHETIC_COLUMN!r}; a cohort that is imported is "
            "of patients: leave such rows out"
        )
    for column in ("patient_id", *DICOM_KEYS):
        if _POWER.fullmatch(values.get(column, "")):
            raise wrong(
                column, "a spreadsheet has cut off its last digits; make the column text there and save it again"
            )
    split = _SPLITS.get(values.get("split", "").lower())
    if split is None:
        raise wrong("split", f"use {TRAIN!r} or {TEST!r}")
    sex, age = sex_of(values.get("sex", "")), age_of(values.get("age_years", ""), unit)
    if sex is None:
        raise wrong("sex", "use F or M rather than codes, or leave it empty where it is not known")
    if age is None:
        rule = f"give years as a number, 0 to {MAX_AGE_YEARS:g}, or leave it empty where it is not known"
        raise wrong("age_years", rule)
    return TableRow(
        number=number,
        patient_id=values.get("patient_id", ""),
        site=values.get("site", ""),
        sex=sex or None,
        age_years=None if math.isnan(age) else age,
        label=_WHOLE.sub(r"\1", values.get("label", "")),
        split=split,
    )


def _read_csv(path: Path, keys: Sequence[str]) -> tuple[list[str], Iterator[list[str]]]:
    lines = unicodedata.normalize("NFC", _bounded_text(path)).splitlines()
    told = _SEPARATOR.fullmatch(lines[0]) if lines else None
    lines = lines[1:] if told else lines
    delimiter = told[1] if told else max(",;\t|", key=lines[0].count if lines else len)
    try:
        records = [[_plain(cell) for cell in row] for row in csv.reader(lines, delimiter=delimiter, strict=True)]
    except DAMAGE:
        raise CohortError(f"{path}: not a readable CSV table; write it again as UTF-8 with a header line") from None
    records = [row for row in records if any(row)]
    headers = (place for place, row in enumerate(records[:_MAX_TITLES]) if set(keys) & set(_known_names(row)))
    records = records[next(headers, 0) :]  # above it are titles
    names, rows = (records[0], records[1:]) if records else ([], [])
    if any(len(cell) > _MAX_TEXT for row in records for cell in row):
        raise CohortError(f"{path}: holds a cell of more than {_MAX_TEXT} characters; shorten it")
    for number, row in enumerate(rows, start=1):
        while len(row) > len(names) and not row[-1]:
            row.pop()
        if len(row) != len(names):
            raise CohortError(f"{path}: row {number} has {len(row)} cells, the header {len(names)}; mend it")
    return _named(names, rows, path)


def _plain(cell: str) -> str:
    """Return a cell without blanks, and without ``="..."``, by which spreadsheets are made to keep leading zeros."""
    told = _FORMULA.fullmatch(cell.strip())
    return told[1] if told else cell.strip()


def _named(names: list[str], rows: list[list[str]], path: Path) -> tuple[list[str], Iterator[list[str]]]:
    """Leave out columns without a name, which must be empty, or the numbers of the rows as pandas and R write them."""
    kept = [place for place, name in enumerate(names) if name]
    for place in sorted(set(range(len(names))) - set(kept)):
        cells = [row[place] for row in rows]
        numbered = any(cells == [str(first + number) for number in range(len(rows))] for first in (0, 1))
        if any(cells) and not numbered:
            raise CohortError(f"{path}: column {place + 1} has no name but holds values; name it in the header")
    return [names[place] for place in kept], ([row[place] for place in kept] for row in rows)


def _bounded_text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise CohortError(f"{path}: the table cannot be read ({error.strerror}); check its name") from error
    if len(data) > _MAX_BYTES:
        raise CohortError(f"{path}: larger than {_MAX_BYTES} bytes; leave out columns that are not used")
    if data.startswith(_WORKBOOKS):
        raise CohortError(f"{path}: a spreadsheet program's workbook; save it as CSV (UTF-8)")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise CohortError(f"{path}: not UTF-8 text; save the table as 'CSV UTF-8' (not plain CSV) or Parquet") from None


def _read_parquet(path: Path) -> tuple[list[str], Iterator[list[str]]]:
    try:
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
            size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
            if metadata.num_rows > _MAX_ROWS or size > _MAX_BYTES:
                raise CohortError(f"{path}: claims {metadata.num_rows} rows and {size} bytes; too many to be right")
            wanted = (*DICOM_KEYS, *NIFTI_KEYS, *_VALUES)
            schema = file.schema_arrow
            names = list(schema.names)
            known = _known_names(names)
            used = [name for name, meant in zip(names, known, strict=True) if meant in wanted]
            for name in used:
                flag = name.lower() == SYNTHETIC_COLUMN and pa.types.is_boolean(schema.field(name).type)
                if not (flag or _readable(schema.field(name).type)):
                    kind = schema.field(name).type
                    raise CohortError(f"{path}: column {name!r} has type {kind}; use text or numbers")
            table = file.read(columns=used)
            table.validate(full=True)
            columns = {name: [_text(value) for value in table[name].to_pylist()] for name in used}
    except (*DAMAGE, pa.ArrowException) as error:
        if isinstance(error, FileNotFoundError):
            raise CohortError(f"{path}: the table is not there; check its name") from None
        raise CohortError(f"{path}: not a readable Parquet table; write it again") from None
    absent = [""] * table.num_rows
    return names, (list(row) for row in zip(*(columns.get(name, absent) for name in names), strict=True))


def _readable(kind: Any) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_floating, pa.types.is_null)
    return any(test(plain) for test in tests)


def _text(value: object) -> str:
    """Return a cell as text; whole floats, which is what integers with gaps become, as integers if they still are."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
    text = str(int(value)) if isinstance(value, float) and whole else str(value).strip()
    return unicodedata.normalize("NFC", text)[:_MAX_TEXT]
