"""Cohorts of which only some volumes are here: the same cohort, and only what is here can be read."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_cohort import META, one_clear_line, volumes, write_tiny

from flprivacy.cohorts.format import open_cohort, read_volumes, verify_cohort, write_cohort
from flprivacy.cohorts.sampling import exposed_rows
from flprivacy.cohorts.selection import PRESENT_FILE, local_places, selection_digest, write_selection
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import CohortError


def _select(whole: Cohort, rows: list[int], folder: Path) -> Path:
    """Write the selection naively: for each shard, the volumes of its rows by their place."""
    chosen = np.array(rows, dtype=np.int64)
    (folder / "volumes").mkdir(parents=True)
    for name, group in whole.manifest.iloc[chosen].groupby("shard"):
        data = np.load(whole.folder / str(name))[np.sort(group["row"].to_numpy())]
        np.save(folder / str(name), data)
    write_selection(folder, meta=whole.meta, manifest=whole.manifest, rows=chosen)
    return folder


@pytest.fixture
def whole(tmp_path: Path) -> Cohort:
    return write_tiny(tmp_path / "whole", scans=48)


@pytest.mark.parametrize("seed", range(5))
def test_any_selection_reads_as_the_whole_does(whole: Cohort, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(48)[: rng.integers(1, 48)])
    part = verify_cohort(_select(whole, rows.tolist(), tmp_path / "part"))
    asked = rng.permutation(np.concatenate([rows, rows]))
    np.testing.assert_array_equal(read_volumes(part, asked), read_volumes(whole, asked))
    assert part.meta == whole.meta
    pd.testing.assert_frame_equal(part.manifest, whole.manifest)
    np.testing.assert_array_equal(exposed_rows(part, fraction=0.3, seed=1), exposed_rows(whole, fraction=0.3, seed=1))


def test_shards_in_another_order_than_the_manifest(whole: Cohort) -> None:
    """A manifest whose rows point into shards in reverse: places follow the shard's order, not the manifest's."""
    frame = whole.manifest.copy()
    frame["row"] = frame.groupby("shard")["row"].transform(lambda row: row.max() - row)
    places = local_places(frame, np.array([0, 1, 2, 6, 7]))
    for shard in frame["shard"].unique():
        here = [(frame["row"][i], places[i]) for i in (0, 1, 2, 6, 7) if frame["shard"][i] == shard]
        assert [place for _, place in sorted(here)] == list(range(len(here)))
    assert (places[[3, 4, 5]] == -1).all()


def test_what_is_not_here_is_refused(whole: Cohort, tmp_path: Path) -> None:
    part = open_cohort(_select(whole, [0, 3, 7, 20], tmp_path / "part"))
    with pytest.raises(CohortError) as caught:
        read_volumes(part, np.array([0, 1, 3, 4]))
    one_clear_line(caught.value, "holds 4 of the cohort's 48 volumes", "2 others are asked for", "pull the cohort")


def test_all_rows_are_the_whole_cohort(whole: Cohort, tmp_path: Path) -> None:
    folder = _select(whole, list(range(48)), tmp_path / "all")
    assert not (folder / PRESENT_FILE).exists()
    assert open_cohort(folder).places is None


def test_a_damaged_volume_is_found(whole: Cohort, tmp_path: Path) -> None:
    folder = _select(whole, [0, 3, 7, 20], tmp_path / "part")
    path = folder / "volumes" / "Basel.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CohortError) as caught:
        verify_cohort(folder)
    one_clear_line(caught.value, "Basel.npy", "is damaged", "1 of 4 volumes damaged")


def _write_rows(folder: Path, rows: object, told: str | None = None, column: str = "number") -> None:
    table = pa.table({column: rows})
    if told is not None:
        table = table.replace_schema_metadata({b"flprivacy.selection": told})
    pq.write_table(table, folder / PRESENT_FILE)


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([0, 3, 7], "lists"),
        ([0, 3, 7, 20, 21], "lists"),
        ([0, 3, 7, 48], "not the rows"),
        ([-1, 3, 7, 20], "not the rows"),
        ([3, 0, 7, 20], "not the rows"),
        ([], "nulls"),
        (list(range(49)), "at most 48"),
        ([0.0, 3.0, 7.0, 20.0], "holds double"),
        ([0, None, 7, 20], "nulls"),
    ],
)
def test_another_list_of_rows_is_refused(whole: Cohort, tmp_path: Path, rows: list[int], word: str) -> None:
    folder = _select(whole, [0, 3, 7, 20], tmp_path / "part")
    plain = np.array([row or 0 for row in rows], dtype=np.int64)
    _write_rows(folder, rows, selection_digest(whole.meta.digest, plain))
    with pytest.raises(CohortError) as caught:
        open_cohort(folder)
    assert word in str(caught.value)
    assert "pull the cohort again" in str(caught.value)


def test_the_list_of_another_cohort_or_no_list_is_refused(whole: Cohort, tmp_path: Path) -> None:
    folder = _select(whole, [0, 3, 7, 20], tmp_path / "part")
    rows = np.array([0, 3, 7, 20])
    _write_rows(folder, rows, selection_digest("0" * 64, rows))
    with pytest.raises(CohortError, match="not the rows of this cohort"):
        open_cohort(folder)
    (folder / PRESENT_FILE).write_bytes(b"PAR1 nonsense")
    with pytest.raises(CohortError, match="not a readable Parquet file"):
        open_cohort(folder)
    (folder / PRESENT_FILE).unlink()
    with pytest.raises(CohortError, match="the manifest points to row"):
        open_cohort(folder)


def test_a_whole_cohort_replaces_a_part(whole: Cohort, tmp_path: Path) -> None:
    folder = _select(whole, [0, 3], tmp_path / "part")
    meta = dataclasses.replace(META, name="next")
    frame = whole.manifest.drop(columns=["shard", "row", "sha256"])
    write_cohort(folder, meta=meta, manifest=frame, volumes=iter(enumerate(volumes(48))))
    assert verify_cohort(folder).places is None
