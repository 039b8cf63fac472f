"""Checks of cohort.json."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tiny_cohort import META, change_meta, one_clear_line, write_tiny

from flprivacy.cohorts.format import open_cohort
from flprivacy.cohorts.metadata import read_meta
from flprivacy.core.errors import CohortError


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"schema_version": 2}, ("schema_version is 2", "reads 1")),
        ({"schema_version": None}, ("schema_version is None",)),
        ({"name": " "}, ("name",)),
        ({"shape": [3, 4]}, ("shape", "3 values")),
        ({"shape": [3, 4, 0]}, ("shape", "voxels")),
        ({"shape": [3, 4, 10**9]}, ("shape", "voxels")),
        ({"shape": [3, 4, 5.5]}, ("shape", "int")),
        ({"window_hu": [400, -1000]}, ("window_hu", "low < high")),
        ({"window_hu": [-1000, float("inf")]}, ("window_hu",)),
        ({"spacing_mm": [1, 1, 0]}, ("spacing_mm", "positive")),
        ({"spacing_mm": [1, 1, float("nan")]}, ("spacing_mm", "positive")),
        ({"site_names": []}, ("site_names",)),
        ({"site_names": ["A", "a", "B"]}, ("site_names", "repeat")),
        ({"site_names": ["A", "../b", "c"]}, ("site name", "../b")),
        ({"site_names": ["A", ".hidden", "c"]}, ("site name", ".hidden")),
        ({"class_names": ["normal", ""]}, ("class_names",)),
        ({"digest": "abc"}, ("digest", "hexadecimal")),
        ({"colour": "red"}, ("colour",)),
    ],
)
def test_bad_fields_are_refused(tmp_path: Path, fields: dict[str, Any], words: tuple[str, ...]) -> None:
    write_tiny(tmp_path / "cohort")
    change_meta(tmp_path / "cohort", **fields)
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path / "cohort")
    one_clear_line(caught.value, "cohort.json", *words)


def test_missing_field(tmp_path: Path) -> None:
    write_tiny(tmp_path / "cohort")
    path = tmp_path / "cohort" / "cohort.json"
    mapping = json.loads(path.read_text())
    del mapping["window_hu"]
    path.write_text(json.dumps(mapping))
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path / "cohort")
    one_clear_line(caught.value, "cohort.json", "window_hu")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", ("not valid JSON",)),
        (b"\xff\xfe", ("not valid JSON",)),
        (b"[" * 200_000, ("not valid JSON",)),
        (b"[1]", ("no JSON object",)),
        (b" " * (2 << 20), ("larger than",)),
    ],
)
def test_damaged_file(tmp_path: Path, data: bytes, words: tuple[str, ...]) -> None:
    (tmp_path / "cohort.json").write_bytes(data)
    with pytest.raises(CohortError) as caught:
        read_meta(tmp_path)
    one_clear_line(caught.value, "cohort.json", *words)


def test_bad_metadata_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(CohortError) as caught:
        write_tiny(tmp_path / "cohort", meta=dataclasses.replace(META, site_names=("a/b", "c", "d")))
    one_clear_line(caught.value, "a/b", "letters")
    assert not list(tmp_path.iterdir())


def test_hospitals_keep_their_names(tmp_path: Path) -> None:
    names = ("Málaga", "St. Gallen", "site_03")
    write_tiny(tmp_path / "cohort", meta=dataclasses.replace(META, site_names=names))
    assert open_cohort(tmp_path / "cohort").meta.site_names == names
