"""The manifest's schema, its rules and the digest."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_cohort import META, change_manifest, manifest, one_clear_line, volumes, write_tiny

from flprivacy.cohorts.format import cohort_digest, open_cohort, write_cohort
from flprivacy.core.errors import CohortError


def _set(row: int | slice, column: str, value: object) -> Callable[[pd.DataFrame], None]:
    def change(frame: pd.DataFrame) -> None:
        frame.loc[row, column] = value

    return change


def _cast(column: str, kind: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame.assign(**{column: frame[column].astype(kind)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set(4, "scan_id", "scan-secret-0"), ("scan_id of row 4", "unique")),
        (_set(4, "scan_id", " "), ("scan_id of row 4", "empty")),
        (_set(slice(4, 5), "patient_id", ""), ("patient_id of row 4 and 1 more", "empty")),
        (_set(2, "site_id", 3), ("site_id of row 2", "0 to 2")),
        (_set(2, "site_id", -1), ("site_id of row 2", "0 to 2")),
        (_set(9, "label", 2), ("label of row 9", "0 to 1")),
        (_set(slice(0, 1), "split", "val"), ("split of row 0", "'train' or 'test'")),
        (_set(3, "sex", "female"), ("sex of row 3", "null")),
        (_set(3, "age_years", np.inf), ("age_years of row 3", "null")),
        (_set(3, "age_years", -1.0), ("age_years of row 3", "0 to 130")),
        (_set(0, "split", "test"), ("a patient is in both splits", "rows 0, 1")),
        (_set(3, "row", -1), ("row of row 3", "negative")),
        (_set(1, "row", 0), ("shard and row of row 1", "another scan")),
        (_set(3, "sha256", "AB" * 32), ("sha256 of row 3", "hexadecimal")),
        (_set(3, "sha256", "ab"), ("sha256 of row 3", "hexadecimal")),
        (lambda frame: frame.iloc[:0], ("no scan",)),
    ],
)
def test_bad_values_are_refused(tmp_path: Path, change: Callable[[pd.DataFrame], None], words: tuple[str, ...]) -> None:
    write_tiny(tmp_path / "cohort")
    change_manifest(tmp_path / "cohort", change, redigest=False)
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path / "cohort")
    one_clear_line(caught.value, "manifest.parquet", *words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_cast("site_id", "float64"), ("'site_id'", "double", "int64")),
        (_cast("age_years", "str"), ("'age_years'", "string", "double")),
        (_cast("label", "bool"), ("'label'", "bool", "int64")),
        (_cast("scan_id", "category"), ("'scan_id'", "dictionary", "string")),
        (lambda frame: frame.drop(columns="sha256"), ("'sha256'", "missing")),
        (lambda frame: frame.assign(race="x"), ("'race'", "not in the schema")),
        (_set(3, "patient_id", None), ("'patient_id'", "nulls")),
        (_set(3, "split", None), ("'split'", "nulls")),
    ],
)
def test_bad_columns_are_refused(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], words: tuple[str, ...]
) -> None:
    write_tiny(tmp_path / "cohort")
    change_manifest(tmp_path / "cohort", change, redigest=False)
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path / "cohort")
    one_clear_line(caught.value, "manifest.parquet", *words)


def test_nan_age_is_refused_since_null_is_how_it_is_missing(tmp_path: Path) -> None:
    write_tiny(tmp_path / "cohort")
    path = tmp_path / "cohort" / "manifest.parquet"
    table = pq.read_table(path)
    ages = pa.array(np.full(len(table), np.nan))
    pq.write_table(table.set_column(table.column_names.index("age_years"), "age_years", ages), path)
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path / "cohort")
    one_clear_line(caught.value, "manifest.parquet", "NaN", "null")


@pytest.mark.parametrize("damage", [b"", b"PAR1 not really", None])
def test_damaged_parquet(tmp_path: Path, damage: bytes | None) -> None:
    write_tiny(tmp_path / "cohort")
    path = tmp_path / "cohort" / "manifest.parquet"
    path.write_bytes(path.read_bytes()[:-20] if damage is None else damage)
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path / "cohort")
    one_clear_line(caught.value, "manifest.parquet", "Parquet")


def test_other_encodings_of_the_same_rows_open(tmp_path: Path) -> None:
    written = write_tiny(tmp_path / "cohort")
    path = tmp_path / "cohort" / "manifest.parquet"
    table = pq.read_table(path)
    narrow = {"site_id": pa.int8(), "scan_id": pa.large_string(), "row": pa.uint16()}
    fields = [(name, narrow.get(name, table.schema.field(name).type)) for name in reversed(table.column_names)]
    pq.write_table(table.select([name for name, _ in fields]).cast(pa.schema(fields)), path, compression="none")
    pd.testing.assert_frame_equal(open_cohort(tmp_path / "cohort").manifest, written.manifest)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set(0, "split", "test"), ("both splits",)),
        (_set(3, "scan_id", "scan-secret-0"), ("scan_id of row 3",)),
        (_cast("site_id", "str"), ("'site_id'", "int64")),
        (lambda frame: frame.assign(label=[0, "1"] * 12), ("'label'", "mixes")),
        (lambda frame: frame.assign(site_id=np.uint64(1 << 63)), ("'site_id'", "fit")),
        (lambda frame: frame.assign(shard="x"), ("'shard'",)),
        (lambda frame: frame.drop(columns="sex"), ("'sex'", "missing")),
    ],
)
def test_a_bad_manifest_is_never_written(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame | None], words: tuple[str, ...]
) -> None:
    frame = manifest()
    changed = change(frame)
    frame = frame if changed is None else changed
    with pytest.raises(CohortError) as caught:
        write_cohort(tmp_path / "cohort", meta=META, manifest=frame, volumes=iter(enumerate(volumes())))
    one_clear_line(caught.value, *words)
    assert not list(tmp_path.iterdir())


def test_a_cohort_without_any_sex_or_age_is_written(tmp_path: Path) -> None:
    frame = manifest().assign(sex=None, age_years=None)
    write_cohort(tmp_path / "cohort", meta=META, manifest=frame, volumes=iter(enumerate(volumes())))
    read = open_cohort(tmp_path / "cohort").manifest
    assert read["sex"].isna().all()
    assert read["age_years"].isna().all()
    assert read["age_years"].dtype == np.float64


def test_whole_ages_are_written_as_floats(tmp_path: Path) -> None:
    frame = manifest().assign(age_years=50)
    write_cohort(tmp_path / "cohort", meta=META, manifest=frame, volumes=iter(enumerate(volumes())))
    assert open_cohort(tmp_path / "cohort").manifest["age_years"].tolist() == [50.0] * 24


def test_digest_covers_every_column_and_the_order_of_the_rows(tmp_path: Path) -> None:
    cohort = write_tiny(tmp_path / "cohort")
    others = {
        "scan_id": "x",
        "patient_id": "x",
        "site_id": 2,
        "split": "test",
        "label": 1,
        "sex": "F",
        "age_years": 1.0,
        "shard": "volumes/x.npy",
        "row": 99,
        "sha256": "0" * 64,
    }
    digests = {cohort.meta.digest, cohort_digest(cohort.manifest.iloc[::-1], cohort.meta)}
    assert set(others) == set(cohort.manifest.columns)
    for column, value in others.items():
        frame = cohort.manifest.copy()
        frame.loc[0, column] = value
        digests.add(cohort_digest(frame, cohort.meta))
    assert len(digests) == 2 + len(others)


def test_digest_covers_the_metadata_but_not_the_name(tmp_path: Path) -> None:
    cohort = write_tiny(tmp_path / "cohort")
    same = dataclasses.replace(cohort.meta, name="renamed", digest="")
    assert cohort_digest(cohort.manifest, same) == cohort.meta.digest
    others = [
        {"shape": (5, 4, 3)},
        {"window_hu": (-1000.0, 401.0)},
        {"spacing_mm": None},
        {"site_names": ("Basel", "Lima", "Kyoto")},
        {"class_names": ("covid", "normal")},
    ]
    digests = {cohort_digest(cohort.manifest, dataclasses.replace(cohort.meta, **other)) for other in others}
    assert len(digests | {cohort.meta.digest}) == len(others) + 1


def test_digest_tells_missing_from_text_and_neighbours_apart(tmp_path: Path) -> None:
    cohort = write_tiny(tmp_path / "cohort")
    digests = set()
    for scan, patient in (("ab", "c"), ("a", "bc"), ("a,b", "c"), ("a", "b,c")):
        frame = cohort.manifest.copy()
        frame.loc[0, ["scan_id", "patient_id"]] = [scan, patient]
        digests.add(cohort_digest(frame, cohort.meta))
    assert len(digests) == 4
