"""Shards: the path must stay inside, and the header is not believed before the file bears it out."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_cohort import META, SHAPE, change_manifest, one_clear_line, write_tiny

from flprivacy.cohorts.format import open_cohort
from flprivacy.cohorts.volumes import append_volume, open_shard, start_shard
from flprivacy.core.errors import CohortError, StorageError

DATA = np.random.default_rng(1).integers(0, 256, (6, *SHAPE), dtype=np.uint8)


def _refusal(folder: Path, *words: str) -> None:
    with pytest.raises(CohortError) as caught:
        open_shard(folder, "shard.npy", SHAPE)
    one_clear_line(caught.value, "shard.npy", *words)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_npy_version_is_read(tmp_path: Path, version: tuple[int, int]) -> None:
    with (tmp_path / "shard.npy").open("wb") as stream:
        np.lib.format.write_array(stream, DATA, version=version)
    shard = open_shard(tmp_path, "shard.npy", SHAPE)
    assert shard.scans == 6
    np.testing.assert_array_equal(shard.map(), DATA)
    assert not shard.map().flags.writeable


def test_appended_volumes_make_the_file_that_numpy_would_write(tmp_path: Path) -> None:
    start_shard(tmp_path / "new" / "shard.npy", 6, SHAPE)
    for volume in DATA:
        append_volume(tmp_path / "new" / "shard.npy", volume)
    stream = io.BytesIO()
    np.save(stream, DATA)
    assert (tmp_path / "new" / "shard.npy").read_bytes() == stream.getvalue()


def test_writing_where_one_cannot(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as caught:
        start_shard(tmp_path / "file" / "shard.npy", 6, SHAPE)
    one_clear_line(caught.value, "shard.npy")
    with pytest.raises(StorageError) as caught:
        append_volume(tmp_path / "absent" / "shard.npy", DATA[0])
    one_clear_line(caught.value, "shard.npy")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (DATA.astype(np.float32), ("'<f4'", "uint8")),
        (DATA.astype(np.int8), ("'|i1'", "uint8")),
        (np.asfortranarray(DATA), ("Fortran", "C order")),
        (DATA[0], ("(3, 4, 5)", "cohort.json")),
        (DATA.transpose(0, 3, 2, 1).copy(), ("(6, 5, 4, 3)", "(scans, 3, 4, 5)")),
        (np.zeros(6, dtype=[("a", "u1")]), ("plain array",)),
    ],
)
def test_other_types_and_shapes_are_refused(tmp_path: Path, array: np.ndarray, words: tuple[str, ...]) -> None:
    np.save(tmp_path / "shard.npy", array)
    _refusal(tmp_path, *words)


def test_pickled_objects_are_refused_unread(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "exploded",))  # type: ignore[return-value]

    np.save(tmp_path / "shard.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    _refusal(tmp_path, "'|O'")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 3, 4, 5), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 90 + ", 3, 4, 5), }",
    ],
)
def test_a_header_that_promises_more_than_the_file_holds(tmp_path: Path, header: str) -> None:
    text = header.encode() + b"\n"
    (tmp_path / "shard.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"0" * 360)
    _refusal(tmp_path, "truncated")


@pytest.mark.parametrize("text", ["(" * 3000, "-" * 3000 + "1", "{'descr': __import__('os')}", "9" * 4000])
def test_a_header_that_is_no_array_description(tmp_path: Path, text: str) -> None:
    data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + DATA.tobytes()
    (tmp_path / "shard.npy").write_bytes(data)
    _refusal(tmp_path, "plain array")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04" + bytes(100), ("not an .npy file",)),
        (b"\x93NUMPY\x09\x00" + bytes(100), ("version 9",)),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + bytes(100), ("claims 2147483647 bytes",)),
        (b"\x93NUMPY\x02\x00\xff", ("not an .npy file",)),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, words: tuple[str, ...]) -> None:
    (tmp_path / "shard.npy").write_bytes(data)
    _refusal(tmp_path, *words)


def test_trailing_bytes_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "shard.npy", DATA)
    with (tmp_path / "shard.npy").open("ab") as stream:
        stream.write(b"!")
    _refusal(tmp_path, "too long")


def test_a_folder_is_no_shard(tmp_path: Path) -> None:
    (tmp_path / "shard.npy").mkdir()
    _refusal(tmp_path, "regular file")


@pytest.mark.parametrize(
    "name",
    [
        "../outside.npy",
        "volumes/../volumes/Lima.npy",
        "volumes/../../outside.npy",
        "/etc/passwd",
        "",
        "C:outside.npy",
        "..\\outside.npy",
        "a\0b",
    ],
)
def test_a_shard_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    write_tiny(tmp_path / "cohort")
    np.save(tmp_path / "outside.npy", np.zeros((24, *SHAPE), np.uint8))

    def redirect(frame: pd.DataFrame) -> None:
        frame.loc[frame["site_id"] == 1, "shard"] = name

    change_manifest(tmp_path / "cohort", redirect)
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path / "cohort")
    one_clear_line(caught.value, "leaves the cohort's folder")


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    write_tiny(tmp_path / "cohort")
    shard = tmp_path / "cohort" / "volumes" / f"{META.site_names[0]}.npy"
    shard.rename(tmp_path / "outside.npy")
    shard.symlink_to(tmp_path / "outside.npy")
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path / "cohort")
    one_clear_line(caught.value, "leaves the cohort's folder")


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shard.npy").symlink_to(tmp_path / "shard.npy")
    _refusal(tmp_path)
