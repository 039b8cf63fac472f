"""Checksums against the libraries' own and published values."""

import hashlib
from pathlib import Path

import pytest
from storage_examples import some_bytes, written

from flprivacy.core.errors import StorageError
from flprivacy.storage.checksums import Checksum, fits


def test_known_values() -> None:
    crc, empty = Checksum(""), Checksum("md5:")
    crc.update(b"1234")
    crc.update(memoryview(b"56789"))
    assert crc.text() == "crc32c:4waSgw=="  # 0xE3069283, the check value of CRC-32C
    assert empty.text() == "md5:d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_fits_a_whole_file_and_a_part_of_it(tmp_path: Path, algorithm: str) -> None:
    path, data = written(tmp_path / "file", 3_000_000), some_bytes(3_000_000)
    whole = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    part = f"{algorithm}:{hashlib.new(algorithm, data[1000:2_000_000]).hexdigest()}"
    assert fits(path, whole)
    assert fits(path, part, start=1000, size=2_000_000 - 1000)
    assert not fits(path, part)
    assert not fits(path, whole, size=4_000_000)
    assert fits(path, "")


def test_a_flipped_bit_does_not_fit(tmp_path: Path) -> None:
    path = written(tmp_path / "file", 10_000)
    good = Checksum("crc32c:")
    good.update(path.read_bytes())
    assert fits(path, good.text())
    data = bytearray(path.read_bytes())
    data[7777] ^= 1
    path.write_bytes(data)
    assert not fits(path, good.text())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nothing"):
        fits(tmp_path / "nothing", "md5:0")


def test_without_googles_library_parts_are_summed_by_python_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flprivacy.storage.checksums._quick_algorithm", lambda: "sha256")
    assert Checksum("").text() == f"sha256:{hashlib.sha256().hexdigest()}"
