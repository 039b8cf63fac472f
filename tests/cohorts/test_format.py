"""Writing, opening, verifying and reading a cohort folder."""

import dataclasses
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_cohort import META, SHAPE, change_manifest, manifest, one_clear_line, volumes, write_tiny

from flprivacy.cohorts import format as cohort_format
from flprivacy.cohorts.format import open_cohort, read_volumes, verify_cohort, write_cohort
from flprivacy.core.cohort import MANIFEST_COLUMNS, SCHEMA_VERSION
from flprivacy.core.errors import CohortError, StorageError


def test_round_trip(tmp_path: Path) -> None:
    written = write_tiny(tmp_path / "cohort")
    opened = verify_cohort(tmp_path / "cohort")
    assert opened.meta == written.meta == dataclasses.replace(META, digest=written.meta.digest)
    assert opened.meta.schema_version == SCHEMA_VERSION
    pd.testing.assert_frame_equal(opened.manifest, written.manifest)
    assert tuple(opened.manifest.columns) == MANIFEST_COLUMNS
    expected = manifest()
    pd.testing.assert_frame_equal(
        opened.manifest[list(expected.columns)], expected, check_dtype=False, check_column_type=False
    )
    assert opened.manifest["sex"].isna().equals(expected["sex"].isna())


def test_layout_is_the_one_of_the_design(tmp_path: Path) -> None:
    write_tiny(tmp_path / "cohort")
    files = {p.relative_to(tmp_path / "cohort").as_posix() for p in (tmp_path / "cohort").rglob("*.*")}
    assert files == {"cohort.json", "manifest.parquet", *(f"volumes/{name}.npy" for name in META.site_names)}
    shard = np.load(tmp_path / "cohort" / "volumes" / "Lima.npy", allow_pickle=False)
    assert shard.dtype == np.uint8
    assert shard.flags.c_contiguous
    np.testing.assert_array_equal(shard, volumes()[manifest()["site_id"].to_numpy() == 1])


def test_whole_numbers_and_cohort_without_spacing_open_with_the_digest_they_were_written_with(tmp_path: Path) -> None:
    meta = dataclasses.replace(META, window_hu=(-1000, 400), spacing_mm=None)
    written = write_tiny(tmp_path / "cohort", meta=meta)
    assert open_cohort(tmp_path / "cohort").meta == written.meta


def test_a_site_may_have_no_scan(tmp_path: Path) -> None:
    meta = dataclasses.replace(META, site_names=(*META.site_names, "Empty"))
    write_tiny(tmp_path / "cohort", meta=meta)
    assert verify_cohort(tmp_path / "cohort").meta.site_names[3] == "Empty"


def test_read_volumes_in_the_order_asked(tmp_path: Path) -> None:
    cohort = write_tiny(tmp_path / "cohort")
    data = volumes()
    for rows in ([5, 4, 4, 23, 0, 1, 6, 7, 12, 13], list(range(24)), [3]):
        read = read_volumes(cohort, np.array(rows))
        np.testing.assert_array_equal(read, data[rows])
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = rng.integers(0, 24, rng.integers(1, 40))
        np.testing.assert_array_equal(read_volumes(cohort, rows), data[rows])
    assert read_volumes(cohort, np.array([], dtype=np.int64)).shape == (0, *SHAPE)


def test_read_volumes_maps_each_shard_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = write_tiny(tmp_path / "cohort")
    opened: list[str] = []
    real = cohort_format.open_shard

    def spy(folder: Path, name: str, shape: tuple[int, int, int]) -> object:
        opened.append(name)
        return real(folder, name, shape)

    monkeypatch.setattr(cohort_format, "open_shard", spy)
    read_volumes(cohort, np.arange(24))
    assert sorted(opened) == [f"volumes/{name}.npy" for name in META.site_names]


@pytest.mark.parametrize("rows", [np.array([24]), np.array([-1]), np.array([0.5]), np.array([[1]]), np.array([True])])
def test_read_volumes_refuses_rows_that_do_not_exist(tmp_path: Path, rows: np.ndarray) -> None:
    cohort = write_tiny(tmp_path / "cohort")
    with pytest.raises(CohortError) as caught:
        read_volumes(cohort, rows)
    one_clear_line(caught.value, "row")


def test_read_volumes_refuses_a_shard_truncated_after_opening(tmp_path: Path) -> None:
    cohort = write_tiny(tmp_path / "cohort")
    shard = tmp_path / "cohort" / "volumes" / "Lima.npy"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CohortError) as caught:
        read_volumes(cohort, np.arange(24))
    one_clear_line(caught.value, "Lima.npy", "truncated")


def test_read_volumes_refuses_a_shard_replaced_by_a_shorter_one_after_opening(tmp_path: Path) -> None:
    cohort = write_tiny(tmp_path / "cohort")
    np.save(tmp_path / "cohort" / "volumes" / "Lima.npy", np.zeros((2, *SHAPE), np.uint8))
    with pytest.raises(CohortError) as caught:
        read_volumes(cohort, np.arange(24))
    one_clear_line(caught.value, "Lima.npy", "holds 2 volumes")


def test_missing_cohort(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(CohortError) as caught:
            open_cohort(folder)
        one_clear_line(caught.value, "cohort.json", "not found")


def test_missing_manifest(tmp_path: Path) -> None:
    write_tiny(tmp_path / "cohort")
    (tmp_path / "cohort" / "manifest.parquet").unlink()
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path / "cohort")
    one_clear_line(caught.value, "manifest.parquet", "not found")


def test_missing_shard(tmp_path: Path) -> None:
    write_tiny(tmp_path / "cohort")
    (tmp_path / "cohort" / "volumes" / "Lima.npy").unlink()
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path / "cohort")
    one_clear_line(caught.value, "Lima.npy", "not found")


@pytest.mark.parametrize("keep", [0, 7, 40, 128, 500, -1])
def test_truncated_shard(tmp_path: Path, keep: int) -> None:
    write_tiny(tmp_path / "cohort")
    shard = tmp_path / "cohort" / "volumes" / "Osaka.npy"
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path / "cohort")
    one_clear_line(caught.value, "Osaka.npy", "truncated")


def test_shard_with_fewer_volumes_than_the_manifest_points_to(tmp_path: Path) -> None:
    write_tiny(tmp_path / "cohort")
    shard = tmp_path / "cohort" / "volumes" / "Osaka.npy"
    np.save(shard, np.load(shard)[:-1])
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path / "cohort")
    one_clear_line(caught.value, "Osaka.npy", "holds 7 volumes", "row 7")


def test_verify_names_the_shard_and_row_of_a_flipped_byte(tmp_path: Path) -> None:
    write_tiny(tmp_path / "cohort")
    shard = tmp_path / "cohort" / "volumes" / "Osaka.npy"
    data = np.lib.format.open_memmap(shard, mode="r+")
    data[5, 1, 2, 3] ^= 1
    data.flush()
    del data
    open_cohort(tmp_path / "cohort")
    with pytest.raises(CohortError) as caught:
        verify_cohort(tmp_path / "cohort")
    one_clear_line(caught.value, "Osaka.npy", "volume 5", "1 of 24")


def test_verify_finds_two_volumes_that_changed_places(tmp_path: Path) -> None:
    write_tiny(tmp_path / "cohort")

    def swap(frame: pd.DataFrame) -> None:
        frame.loc[[0, 1], "sha256"] = frame.loc[[1, 0], "sha256"].to_numpy()

    change_manifest(tmp_path / "cohort", swap)
    with pytest.raises(CohortError) as caught:
        verify_cohort(tmp_path / "cohort")
    one_clear_line(caught.value, "Basel.npy", "volume 0", "2 of 24")


def test_digest_mismatch(tmp_path: Path) -> None:
    write_tiny(tmp_path / "cohort")

    def older(frame: pd.DataFrame) -> None:
        frame.loc[3, "age_years"] += 1.0

    change_manifest(tmp_path / "cohort", older, redigest=False)
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path / "cohort")
    one_clear_line(caught.value, "manifest.parquet", "digest")


def _drain(folder: Path, items: Iterator[tuple[int, np.ndarray]]) -> None:
    write_cohort(folder, meta=META, manifest=manifest(), volumes=items)


def test_failing_iterator_leaves_nothing_behind(tmp_path: Path) -> None:
    def failing() -> Iterator[tuple[int, np.ndarray]]:
        yield from list(enumerate(volumes()))[:5]
        raise RuntimeError("scanner on fire")

    with pytest.raises(RuntimeError, match="on fire"):
        _drain(tmp_path / "new" / "cohort", failing())
    assert not list((tmp_path / "new").iterdir())


def test_failing_iterator_keeps_the_cohort_that_was_there(tmp_path: Path) -> None:
    before = write_tiny(tmp_path / "cohort")
    with pytest.raises(CohortError):
        _drain(tmp_path / "cohort", iter(enumerate(volumes()[:5])))
    assert verify_cohort(tmp_path / "cohort").meta == before.meta
    assert [p.name for p in tmp_path.iterdir()] == ["cohort"]


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ([0, 2], ("row 2", "row 1 comes next")),
        ([0, 0], ("row 0", "row 1 comes next")),
        (list(range(23)), ("ended after 23 of 24",)),
        ([*range(24), 24], ("row 24", "all 24 rows")),
    ],
)
def test_volumes_out_of_step_with_the_manifest(tmp_path: Path, order: list[int], words: tuple[str, ...]) -> None:
    with pytest.raises(CohortError) as caught:
        _drain(tmp_path / "cohort", ((i, np.zeros(SHAPE, np.uint8)) for i in order))
    one_clear_line(caught.value, *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("volume", [np.zeros(SHAPE), np.zeros(SHAPE[::-1], np.uint8), [[0]]])
def test_volume_of_another_type_or_shape(tmp_path: Path, volume: object) -> None:
    with pytest.raises(CohortError) as caught:
        _drain(tmp_path / "cohort", iter([(0, volume)]))  # type: ignore[list-item]
    one_clear_line(caught.value, "row 0", "uint8 (3, 4, 5)")


def test_volume_in_another_memory_order_is_stored_in_c_order(tmp_path: Path) -> None:
    data = volumes()
    cohort = write_cohort(
        tmp_path / "cohort",
        meta=META,
        manifest=manifest(),
        volumes=((i, np.asfortranarray(v)) for i, v in enumerate(data)),
    )
    verify_cohort(tmp_path / "cohort")
    np.testing.assert_array_equal(read_volumes(cohort, np.arange(24)), data)


def test_memory_stays_at_a_few_volumes(tmp_path: Path) -> None:
    meta = dataclasses.replace(META, shape=(16, 128, 128))
    volume_bytes = 16 * 128 * 128
    rng = np.random.default_rng(0)
    items = ((i, rng.integers(0, 256, meta.shape, dtype=np.uint8)) for i in range(48))
    write_tiny(tmp_path / "warm")
    tracemalloc.start()
    write_cohort(tmp_path / "cohort", meta=meta, manifest=manifest(48), volumes=items)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * volume_bytes, "48 volumes were written, few may be held"


def test_parent_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here first")
    with pytest.raises(StorageError) as caught:
        write_tiny(tmp_path / "file" / "cohort")
    one_clear_line(caught.value, "file")


def test_place_is_a_file_or_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here first")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("file", "link"):
        with pytest.raises(StorageError) as caught:
            write_tiny(tmp_path / name)
        one_clear_line(caught.value, name)
    assert (tmp_path / "file").read_text() == "here first"


def test_folder_with_other_things_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(StorageError) as caught:
        write_tiny(tmp_path / "home")
    one_clear_line(caught.value, "thesis.tex")
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years of work"


def test_empty_folder_and_remains_of_a_cohort_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_tiny(tmp_path / "empty")
    write_tiny(tmp_path / "remains")
    (tmp_path / "remains" / "cohort.json").unlink()
    write_tiny(tmp_path / "remains")
    verify_cohort(tmp_path / "empty")
    verify_cohort(tmp_path / "remains")


def test_a_moved_cohort_opens(tmp_path: Path) -> None:
    write_tiny(tmp_path / "cohort")
    shutil.move(tmp_path / "cohort", tmp_path / "moved")
    (tmp_path / "link").symlink_to(tmp_path / "moved")
    verify_cohort(tmp_path / "moved")
    verify_cohort(tmp_path / "link")
