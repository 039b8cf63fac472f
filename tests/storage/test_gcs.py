"""Google Cloud Storage against its emulator and a scripted server that heeds generations."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.auth.credentials import CredentialsWithRegionalAccessBoundary
from storage_examples import one_line, some_bytes, written

from flprivacy.core.errors import StorageError
from flprivacy.storage.backends.contract import ChangedObjectError, MissingObjectError
from flprivacy.storage.objects import ObjectStore, open_objects
from flprivacy.storage.transfer import download, upload_files
from tests.services.failing_server import Script
from tests.services.scripted_gcs import ScriptedGcs, scripted_gcs, write_key_file


def _store() -> ObjectStore:
    return open_objects("gs://test")


@pytest.fixture
def scripted(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedGcs]:
    with scripted_gcs() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
        yield server


def test_missing_things_and_nobody_there(gcs: str, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingObjectError) as caught:
        _store().stat(f"{gcs}/none")
    one_line(caught.value, f"{gcs}/none", "no such object", "check the URI")
    for act in (
        lambda: _store().stat("gs://no-such-bucket/none"),
        lambda: _store().contents("gs://no-such-bucket/none"),
    ):
        with pytest.raises(MissingObjectError) as caught:
            act()
        one_line(caught.value, "gs://no-such-bucket/none", "no such bucket", "check its name")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", nobody)
    with pytest.raises(StorageError) as caught:
        _store().stat(f"{gcs}/none")
    one_line(caught.value, gcs, nobody, "cannot be reached", "gave up after 4 tries")


def test_without_credentials(clean_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(StorageError) as caught:
        _store().stat("gs://test/x")
    one_line(caught.value, "gs://test/x", "no credentials found", "gcloud auth application-default login")


@pytest.fixture
def account(
    scripted: ScriptedGcs, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> ScriptedGcs:
    """A server that gives tokens to a service account, and an environment in which the SDK's own chain finds that."""
    key = write_key_file(tmp_path_factory.mktemp("secrets") / "key.json", scripted)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")  # with which the SDK asks for no credentials
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", scripted.endpoint)
    # Tests ask nobody but the servers that they start; this question would go to Google, in the background.
    monkeypatch.setattr(
        CredentialsWithRegionalAccessBoundary, "_maybe_start_regional_access_boundary_refresh", lambda *_: None
    )
    scripted.token = "first-secret"
    scripted.objects["x"] = (1, b"hello")
    return scripted


def test_a_service_account_until_its_key_is_revoked(account: ScriptedGcs) -> None:
    store = _store()
    stat = store.stat("gs://b/x")
    assert store.read_whole(stat, most=5) == b"hello"
    account.token = "second-secret"  # the first has expired; the SDK gets another by itself
    assert store.read_whole(stat, most=5) == b"hello"
    account.token, account.refuse_login = "third-secret", "secret: Token has been expired or revoked."
    with pytest.raises(StorageError) as caught:
        store.read_whole(stat, most=5)
    one_line(caught.value, "gs://b/x", "expired or been revoked", "log in again")
    assert account.answered == {
        "metadata": 1,
        "download": 4,
        "token": 3,
    }  # one each: nothing is asked for in the background


def test_a_wrong_key_is_one_line_and_never_tried_again(account: ScriptedGcs) -> None:
    account.refuse_login = "secret: Invalid JWT Signature."
    for act in (lambda: _store().stat("gs://b/x"), lambda: _store().contents("gs://b/folder")):
        account.answered.clear()
        with pytest.raises(StorageError) as caught:
            act()
        one_line(caught.value, "gs://b/", "the key is wrong", "check GOOGLE_APPLICATION_CREDENTIALS")
        assert set(account.answered) == {"token"}
        assert account.answered["token"] == 1


def test_a_file_that_holds_no_key_is_one_line(account: ScriptedGcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", __file__)
    with pytest.raises(StorageError) as caught:
        _store().stat("gs://b/x")
    one_line(caught.value, "gs://b/x", "no credentials found", "GOOGLE_APPLICATION_CREDENTIALS")


def test_publishing_into_a_bucket_that_is_not_there(gcs: str, tmp_path: Path) -> None:
    written(tmp_path / "x", 100)
    with pytest.raises(MissingObjectError) as caught:
        upload_files({"x": tmp_path / "x"}, "gs://no-such-bucket/folder", last="x")
    one_line(caught.value, "gs://no-such-bucket/folder/x", "no such bucket", "check its name")


def test_an_object_replaced_between_look_and_read_is_refused(scripted: ScriptedGcs) -> None:
    scripted.objects["x"] = (1, b"first")
    store = _store()
    stat = store.stat("gs://b/x")
    assert (stat.version, stat.size, stat.checksum) == ("1", 5, "crc32c:ij6hUA==")
    scripted.objects["x"] = (2, b"other")
    with pytest.raises(ChangedObjectError) as caught:
        store.read(stat, 0, 5)
    one_line(caught.value, "gs://b/x", "changed", "run again")


@pytest.mark.parametrize("fault", ["500", "503", "closed early", "truncated", "wrong range"])
def test_failures_that_pass(scripted: ScriptedGcs, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = some_bytes(300_000)
    scripted.objects["x"] = (1, data)
    scripted.script = Script(seed=1, rate=1.0, faults=(fault,), most=3)
    monkeypatch.setenv("FLPRIVACY_STORAGE_PART_BYTES", "100000")
    download("gs://b/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == data
    assert scripted.answered["download"] >= 6


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, ("wants credentials", "log in")),
        (403, ("access denied", "storage.objects.get")),
        (418, ("refuses the request (418)",)),
    ],
)
def test_refusals_are_one_line_and_never_tried_again(
    scripted: ScriptedGcs, status: int, words: tuple[str, ...]
) -> None:
    scripted.refuse = status
    with pytest.raises(StorageError) as caught:
        _store().stat("gs://b/x")
    one_line(caught.value, "gs://b/x", *words)
    assert "secret-of-the-server" not in str(caught.value)
    assert scripted.answered["metadata"] == 1


def test_the_requester_pays_if_a_project_is_given(scripted: ScriptedGcs, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted.objects["x"], scripted.payer = (1, b"hello"), "billed"
    for act in (lambda: _store().stat("gs://b/x"), lambda: _store().contents("gs://b")):
        with pytest.raises(StorageError) as caught:
            act()
        one_line(caught.value, "gs://b", "the requester pays", "FLPRIVACY_STORAGE_GS_USER_PROJECT")
    monkeypatch.setenv("FLPRIVACY_STORAGE_GS_USER_PROJECT", "billed")
    store = _store()
    assert store.read(store.stat("gs://b/x"), 0, 5) == b"hello"
    assert list(store.contents("gs://b")) == ["x"]
