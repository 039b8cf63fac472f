"""``manifest.parquet``: one row a scan, its schema, its rules and its digest."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flprivacy.cohorts.metadata import identity
from flprivacy.core.cohort import MANIFEST_COLUMNS, SEXES, SYNTHETIC_COLUMN, TEST, TRAIN, CohortMeta
from flprivacy.core.errors import CohortError, StorageError

MANIFEST_FILE = "manifest.parquet"
LOCATION_COLUMNS = ("shard", "row", "sha256")
ATTRIBUTE_COLUMNS = tuple(name for name in MANIFEST_COLUMNS if name not in LOCATION_COLUMNS)
_MAX_ROWS = 10_000_000
LARGEST_MANIFEST_BYTES = 1 << 30
_MAX_AGE_YEARS = 130.0
_NULLABLE = ("sex", "age_years")
_TYPES = {name: pa.string() for name in MANIFEST_COLUMNS}
_TYPES |= {name: pa.int64() for name in ("site_id", "label", "row")}
_TYPES |= {"age_years": pa.float64(), SYNTHETIC_COLUMN: pa.bool_()}
_REMEDY = "correct the manifest and write the cohort again"


def read_manifest(source: Path | pa.Buffer, where: str) -> pd.DataFrame:
    """Read ``manifest.parquet``, a file or its bytes, with columns and types checked, but not yet the values.

    Returns:
        A row a scan, columns MANIFEST_COLUMNS and, if the file has it, SYNTHETIC_COLUMN, index 0..n-1; a missing sex
        or age is NaN.

    Raises:
        CohortError: the file is missing, damaged, too large, or has other columns or types than the schema.
    """
    if isinstance(source, Path) and not source.is_file():
        raise CohortError(f"{where}: not found; restore it beside cohort.json or write the cohort again")
    try:
        with pq.ParquetFile(source) as file:
            rows = file.metadata.num_rows
            size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
            if rows > _MAX_ROWS or size > LARGEST_MANIFEST_BYTES:
                limits = f"at most {_MAX_ROWS} and {LARGEST_MANIFEST_BYTES} can be right"
                raise CohortError(f"{where}: claims {rows} rows and {size} bytes, {limits}; restore the file")
            columns = _check_schema(file.schema_arrow, where)
            table = file.read(columns=list(columns))
            table.validate(full=True)
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: names that are no UTF-8
        raise CohortError(f"{where}: not a readable Parquet file; restore it or write the cohort again") from error
    return _frame(table, where)


def write_manifest(folder: Path, manifest: pd.DataFrame) -> None:
    """Write ``manifest.parquet``. ``manifest`` comes from :func:`conform`.

    Raises:
        StorageError: the file cannot be written.
    """
    path = folder / MANIFEST_FILE
    try:
        pq.write_table(_table(manifest, tuple(manifest.columns), str(path)), path, compression="zstd")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error}); free space or choose another folder") from error


def conform(manifest: pd.DataFrame, columns: tuple[str, ...], where: str) -> pd.DataFrame:
    """Return exactly ``columns`` of a frame, in order and with the schema's types, as a reader will get them.

    Raises:
        CohortError: a column is missing, unknown, of another type, or null where it must not be.
    """
    _check_names(list(map(str, manifest.columns)), columns, where)
    return _frame(_table(manifest, columns, where), where)


def check_manifest(manifest: pd.DataFrame, meta: CohortMeta, where: str) -> None:
    """Check every row's values; ``shard``, ``row`` and ``sha256`` only where the frame has them.

    Raises:
        CohortError: a value is out of range, a scan id is not unique, a patient is in both splits, or synthetic scans
            are flagged in another way than the metadata say.
            The message names row numbers, never identifiers.
    """
    if manifest.empty:
        raise CohortError(f"{where}: holds no scan; a cohort has at least one")
    for name in ("scan_id", "patient_id"):
        _refuse(manifest[name].str.strip() == "", name, "empty", "give every scan one", where)
    _refuse(manifest["scan_id"].duplicated(), "scan_id", "already taken by an earlier row", "make ids unique", where)
    for name, names in (("site_id", meta.site_names), ("label", meta.class_names)):
        outside = ~manifest[name].between(0, len(names) - 1)
        _refuse(outside, name, "out of range", f"cohort.json names {len(names)}, so use 0 to {len(names) - 1}", where)
    _refuse(~manifest["split"].isin((TRAIN, TEST)), "split", "unknown", f"use {TRAIN!r} or {TEST!r}", where)
    known = manifest["sex"].isna() | manifest["sex"].isin(SEXES)
    _refuse(~known, "sex", "unknown", f"use {' or '.join(map(repr, SEXES))}, or null where it is not known", where)
    plausible = manifest["age_years"].isna() | manifest["age_years"].between(0.0, _MAX_AGE_YEARS)
    rule = f"use 0 to {_MAX_AGE_YEARS:g} years, or null where it is not known"
    _refuse(~plausible, "age_years", "not an age", rule, where)
    _check_patients(manifest, where)
    _check_flags(manifest, meta, where)
    if "sha256" in manifest:
        _check_locations(manifest, where)


def cohort_digest(manifest: pd.DataFrame, meta: CohortMeta) -> str:
    """Return the SHA-256 over every row, in order, and the metadata but the cohort's own name and digest.

    Row order counts: a scan's row number is how caches and score tables refer to it. How Parquet encodes the rows
    does not count.
    """
    sha = hashlib.sha256(_canonical(identity(meta)))
    columns = [_plain(manifest[name]) for name in meta.columns]
    for row in zip(*columns, strict=True):
        sha.update(_canonical(row))
    return sha.hexdigest()


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _plain(column: "pd.Series[Any]") -> list[Any]:
    values = column.tolist()
    return [None if missing else value for value, missing in zip(values, column.isna(), strict=True)]


def _check_names(found: list[str], wanted: Iterable[str], where: str) -> None:
    wanted = tuple(wanted)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise CohortError(f"{where}: column {missing[0]!r} is missing; {_REMEDY}")
    unknown = sorted(set(found) - set(wanted))
    if unknown or len(found) != len(wanted):
        name = unknown[0] if unknown else next(n for n in found if found.count(n) > 1)
        raise CohortError(f"{where}: column {name!r} is not in the schema or repeats; remove it")


def _check_schema(schema: Any, where: str) -> tuple[str, ...]:
    """Return the columns of a file, in the schema's order."""
    flagged = (SYNTHETIC_COLUMN,) if SYNTHETIC_COLUMN in schema.names else ()
    columns = (*MANIFEST_COLUMNS, *flagged)
    _check_names(schema.names, columns, where)
    for name in columns:
        found, wanted = schema.field(name).type, _TYPES[name]
        if not _fits(found, wanted):
            raise CohortError(f"{where}: column {name!r} has type {found}, the schema says {wanted}; {_REMEDY}")
    return columns


def _fits(found: Any, wanted: Any) -> bool:
    """Say whether a column of type ``found`` means what the schema's type does, perhaps in another width."""
    if wanted == pa.string():
        return bool(pa.types.is_string(found) or pa.types.is_large_string(found))
    if wanted == pa.bool_():
        return bool(pa.types.is_boolean(found))
    return bool(pa.types.is_integer(found) or (wanted == pa.float64() and pa.types.is_floating(found)))


def _table(frame: pd.DataFrame, columns: tuple[str, ...], where: str) -> Any:
    arrays = {}
    for name in columns:
        wanted = _TYPES[name]
        try:
            array = pa.array(frame[name], from_pandas=True)
            if not (_fits(array.type, wanted) or pa.types.is_null(array.type)):
                raise CohortError(f"{where}: column {name!r} has type {array.type}, not {wanted}; convert it")
            arrays[name] = array.cast(wanted)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            # Arrow's own message may quote an identifier.
            raise CohortError(f"{where}: column {name!r} mixes types or does not fit {wanted}; convert it") from error
    return pa.table(arrays)


def _frame(table: Any, where: str) -> pd.DataFrame:
    for name in table.column_names:
        if name not in _NULLABLE and table[name].null_count:
            raise CohortError(f"{where}: column {name!r} has nulls; only {' and '.join(_NULLABLE)} may be missing")
    if pc.any(pc.is_nan(table["age_years"])).as_py():
        raise CohortError(f"{where}: column 'age_years' holds NaN; write null where the age is not known")
    schema = pa.schema([(name, _TYPES[name]) for name in table.column_names])
    try:
        frame: pd.DataFrame = table.cast(schema).to_pandas(ignore_metadata=True)
    except pa.ArrowException as error:
        raise CohortError(f"{where}: holds numbers beyond the schema's types; {_REMEDY}") from error
    return frame


def _refuse(bad: "pd.Series[bool]", column: str, what: str, rule: str, where: str) -> None:
    rows = np.flatnonzero(bad.to_numpy(dtype=bool))
    if len(rows):
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        raise CohortError(f"{where}: {column} of row {rows[0]}{more} is {what}; {rule}")


def _check_patients(manifest: pd.DataFrame, where: str) -> None:
    splits = manifest.groupby("patient_id", sort=False)["split"].transform("nunique")
    rows = np.flatnonzero((splits > 1).to_numpy())
    if len(rows):
        raise CohortError(
            f"{where}: a patient is in both splits (rows {', '.join(map(str, rows[:4]))}"
            f"{' ...' if len(rows) > 4 else ''}); move all scans of a patient to one split and write the cohort again"
        )


def _check_flags(manifest: pd.DataFrame, meta: CohortMeta, where: str) -> None:
    """Refuse a cohort of scans of patients and synthetic ones together."""
    if SYNTHETIC_COLUMN in manifest:
        real = ~manifest[SYNTHETIC_COLUMN].astype(bool)
        rule = "scans of patients and synthetic ones are cohorts of their own: write each into its own folder"
        _refuse(real, SYNTHETIC_COLUMN, "false, and the column is of synthetic cohorts", rule, where)
    if (SYNTHETIC_COLUMN in manifest) != (meta.synthetic_from is not None):
        raise CohortError(
            f"{where}: column {SYNTHETIC_COLUMN!r} and field synthetic_from of cohort.json belong together, and one is "
            "missing; restore both files from one copy or make the synthetic cohort again"
        )
    if SYNTHETIC_COLUMN in manifest:
        held_out = manifest["split"] != TRAIN
        rule = f"nothing is measured on synthetic scans: use {TRAIN!r}"
        _refuse(held_out, "split", "a held-out one", rule, where)


def _check_locations(manifest: pd.DataFrame, where: str) -> None:
    _refuse(manifest["row"] < 0, "row", "negative", _REMEDY, where)
    hexadecimal = manifest["sha256"].str.fullmatch("[0-9a-f]{64}")
    _refuse(~hexadecimal, "sha256", "not 64 hexadecimal digits", _REMEDY, where)
    taken = manifest.duplicated(["shard", "row"])
    _refuse(taken, "shard and row", "the place of another scan", _REMEDY, where)
