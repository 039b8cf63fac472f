"""Servers that the tests of storage talk to, and places on each of them."""

from pathlib import Path

import pytest

from tests.services.fixtures import bucket, ceph, clean_environment, emulator, gcs, nobody, scripted

__all__ = ["bucket", "ceph", "clean_environment", "emulator", "gcs", "nobody", "scripted"]


@pytest.fixture(params=["file", "s3", "gs"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder of each kind of storage, by its URI."""
    if request.param == "file":
        return f"file://{tmp_path}/remote/store"
    place: str = request.getfixturevalue({"s3": "bucket", "gs": "gcs"}[request.param])
    return f"{place}/store"
