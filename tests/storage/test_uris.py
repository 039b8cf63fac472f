"""URIs: which storage they name; names that leave their folder are refused."""

from pathlib import Path

import pytest
from storage_examples import one_line

from flprivacy.core.errors import StorageError
from flprivacy.storage.uris import is_remote, join, local_path, relative_name, scheme_of, split_bucket


@pytest.mark.parametrize(
    ("uri", "scheme"),
    [("data/cohort", "file"), ("/data", "file"), ("file:///data", "file"), ("s3://b/k", "s3"), ("GS://b", "gs")],
)
def test_scheme(uri: str, scheme: str) -> None:
    assert scheme_of(uri) == scheme
    assert is_remote(uri) == (scheme != "file")


@pytest.mark.parametrize("uri", ["", "http://host/cohort", "hdfs://x", "s3a://bucket/x"])
def test_an_unknown_kind_is_refused(uri: str) -> None:
    with pytest.raises(StorageError) as caught:
        scheme_of(uri)
    one_line(caught.value, "s3://")


def test_keys_are_taken_as_they_are() -> None:
    assert split_bucket("s3://bucket/a b/100%25#?.npy") == ("bucket", "a b/100%25#?.npy")
    assert split_bucket("gs://bucket") == ("bucket", "")
    for nameless in (lambda: split_bucket("s3:///key"), lambda: join("gs://", "target.json")):
        with pytest.raises(StorageError, match=r"names no bucket; write it as (s3|gs)://bucket/folder"):
            nameless()


def test_local_paths() -> None:
    assert local_path("file:///data/a%20b") == Path("/data/a b")
    assert local_path("file://localhost/data") == Path("/data")
    assert local_path("/data/a%20b") == Path("/data/a%20b")
    assert local_path("data") == Path.cwd() / "data"
    for uri in ("file://server/data", "s3://bucket/key"):
        with pytest.raises(StorageError, match=r"on this machine|on machine"):
            local_path(uri)


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a\\b", "a\0b", "a/"])
def test_names_that_leave_their_folder_are_refused(name: str) -> None:
    with pytest.raises(StorageError, match="leaves its folder"):
        join("s3://bucket/folder", name)
    with pytest.raises(StorageError, match="leaves its folder"):
        relative_name(f"s3://bucket/folder/{name}", "s3://bucket/folder")


def test_join_and_back() -> None:
    assert join("s3://bucket/folder/", "volumes/a b.npy") == "s3://bucket/folder/volumes/a b.npy"
    assert relative_name("s3://bucket/folder/volumes/x", "s3://bucket/folder/") == "volumes/x"
