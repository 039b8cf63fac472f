"""Digests: canonical, and of the bytes."""

import hashlib
from pathlib import Path

import pytest

from flprivacy.core.digests import digest_bytes, digest_file, digest_json


def test_files_and_bytes_are_hashed_alike(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "f").write_bytes(data)
    assert digest_file(tmp_path / "f") == digest_bytes(data) == hashlib.sha256(data).hexdigest()


def test_json_is_canonical() -> None:
    assert digest_json({"b": 1, "a": [1, 2]}) == digest_json({"a": [1, 2], "b": 1})
    assert digest_json({"a": [1, 2]}) != digest_json({"a": [2, 1]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_json({"a": float("nan")})
