"""S3 against Ceph's gateway: every operation of the interface, and every refusal as one line."""

import time
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from storage_examples import one_line, written

from flprivacy.core.errors import ConfigError, StorageError
from flprivacy.storage.backends.contract import ChangedObjectError, MissingObjectError
from flprivacy.storage.objects import open_objects
from flprivacy.storage.transfer import download, upload_files
from tests.services.ceph import Gateway
from tests.services.scripted_s3 import ScriptedS3

Tag = Callable[[str], str | None]

_LARGE = (12 << 20) + 12345  # three parts
_PLAIN = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")


def test_objects_of_other_tools_are_compared_with_their_md5(bucket: str, tmp_path: Path) -> None:
    boto3.client("s3", config=_PLAIN).put_object(Bucket=bucket[5:], Key="x", Body=b"hello")
    assert open_objects(bucket).stat(f"{bucket}/x").checksum == "md5:5d41402abc4b2a76b9719d911017c592"
    download(f"{bucket}/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"hello"


def test_an_object_replaced_between_look_and_read_is_refused(bucket: str) -> None:
    client = boto3.client("s3", config=_PLAIN)
    client.put_object(Bucket=bucket[5:], Key="x", Body=b"first")
    store = open_objects(bucket)
    stat = store.stat(f"{bucket}/x")
    client.put_object(Bucket=bucket[5:], Key="x", Body=b"other")
    with pytest.raises(ChangedObjectError) as caught:
        store.read(stat, 1, 3)
    one_line(caught.value, f"{bucket}/x", "changed", "run again")


def test_a_public_bucket_needs_no_credentials(
    bucket: str, ceph: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client = boto3.client("s3", config=_PLAIN)
    client.put_object(Bucket=bucket[5:], Key="x", Body=b"hello", ACL="public-read")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageError) as caught:
        download(f"{bucket}/x", tmp_path / "x")
    one_line(caught.value, f"{bucket}/x", "no credentials found", "AWS_ACCESS_KEY_ID", "S3_ANONYMOUS=1")
    monkeypatch.setenv("FLPRIVACY_STORAGE_S3_ANONYMOUS", "1")
    download(f"{bucket}/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"hello"


def test_wrong_keys_missing_things_and_nobody_there(
    bucket: str, ceph: Gateway, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(uri: str, *words: str, kind: type[StorageError] = StorageError) -> None:
        for act in (lambda s: s.stat(uri), lambda s: s.contents(uri)):
            if kind is MissingObjectError and "no such object" in words:
                act = lambda s: s.stat(uri)  # noqa: E731 - an empty folder is no error
            started = time.monotonic()
            with pytest.raises(kind) as caught:
                act(open_objects(uri))
            one_line(caught.value, uri, *words)
            assert time.monotonic() - started < 10.0

    refused(f"{bucket}/none", "no such object", "check the URI", kind=MissingObjectError)
    refused("s3://no-such-bucket-here/x", "no such bucket", ceph.endpoint, kind=MissingObjectError)
    with monkeypatch.context() as wrong:
        wrong.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
        refused(f"{bucket}/x", "the secret key does not fit the access key", ceph.endpoint)
        wrong.setenv("AWS_ACCESS_KEY_ID", "NOBODYSKEY")
        refused(f"{bucket}/x", "the access key is not known to", ceph.endpoint, "AWS_ACCESS_KEY_ID")
    with monkeypatch.context() as wrong:
        wrong.setenv("AWS_ENDPOINT_URL", nobody)
        refused(f"{bucket}/x", "cannot be reached", nobody, "gave up after 4 tries", "check the network")
        wrong.setenv("AWS_ENDPOINT_URL", "http://user:very-secret-key@127.0.0.1:1")
        refused(f"{bucket}/x", "http://127.0.0.1:1")
    with monkeypatch.context() as wrong:
        wrong.setenv("AWS_ENDPOINT_URL", "host-without-scheme:9000")
        with pytest.raises(ConfigError, match="set AWS_ENDPOINT_URL to one such as"):
            open_objects(bucket).stat(f"{bucket}/x")
    with monkeypatch.context() as wrong:
        wrong.setenv("AWS_PROFILE", "nobody")
        refused(f"{bucket}/x", "the credentials cannot be obtained", "ProfileNotFound")


def test_publishing_with_a_wrong_key_or_into_no_bucket(
    bucket: str, ceph: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("large", _LARGE), ("last", 10)):  # in parts, and in one
        written(tmp_path / name, size)
        with pytest.raises(MissingObjectError) as caught:
            upload_files({name: tmp_path / name}, "s3://no-such-bucket-here/x", last=name)
        one_line(caught.value, f"s3://no-such-bucket-here/x/{name}", "no such bucket", "check its name")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
    with pytest.raises(StorageError) as caught:
        upload_files({"last": tmp_path / "last"}, bucket, last="last")
    one_line(caught.value, f"{bucket}/last", "the secret key does not fit the access key")


def test_temporary_credentials_work_until_they_expire(
    bucket: str, ceph: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3.client("s3", config=_PLAIN).put_object(Bucket=bucket[5:], Key="x", Body=b"hello")
    config = Config(parameter_validation=False)  # which allows no less than 15 minutes
    monkeypatch.setenv("AWS_ENDPOINT_URL", ceph.sts_endpoint)
    sts = boto3.client("sts", config=config)
    token = sts.assume_role(RoleArn=ceph.role, RoleSessionName="test", DurationSeconds=4)["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", token["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", token["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", token["SessionToken"])
    store = open_objects(bucket)
    stat = store.stat(f"{bucket}/x")
    assert store.read_whole(stat, most=5) == b"hello"
    time.sleep(4.0)
    with pytest.raises(StorageError) as caught:
        store.read_whole(stat, most=5)
    one_line(caught.value, f"{bucket}/x", "expired", "renew")
    for secret in (token["SecretAccessKey"], token["SessionToken"]):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "ExpiredToken", ("the credentials have expired", "log in again")),
        (403, "InvalidAccessKeyId", ("the access key is not known",)),
        (403, "SignatureDoesNotMatch", ("the secret key does not fit",)),
        (400, "InvalidToken", ("the session token is not valid", "AWS_SESSION_TOKEN")),
        (403, "AccessDenied", ("access denied", "s3:GetObject")),
        (403, "SomethingNew", ("access denied", "s3:GetObject")),
        (403, "RequestTimeTooSkewed", ("clock",)),
        (301, "PermanentRedirect", ("another region", "AWS_REGION")),
        (400, "AuthorizationHeaderMalformed", ("another region", "AWS_REGION")),
        (403, "InvalidObjectState", ("archived", "restore it")),
        (418, "Teapot", ("refuses the request (Teapot)",)),
    ],
)
def test_refusals_are_one_line_and_never_tried_again(
    scripted: ScriptedS3, status: int, code: str, words: tuple[str, ...]
) -> None:
    asked: list[str] = []
    scripted.before_read = asked.append
    scripted.refuse = (status, code)
    with pytest.raises(StorageError) as caught:
        open_objects("s3://b").stat("s3://b/x")
    one_line(caught.value, "s3://b/x", *words)
    assert "secret-of-the-server" not in str(caught.value)
    assert len(asked) <= 3  # the question why, and the SDK's own for the region


@pytest.mark.parametrize(
    ("head", "get"),
    [
        (str, str),
        (str, lambda tag: f"W/{tag}"),
        (lambda tag: f"W/{tag}", str),
        (lambda tag: tag.strip('"'), str),
        (str, lambda tag: tag.strip('"')),
        (str, lambda tag: None),
        (lambda tag: None, str),
        (lambda tag: None, lambda tag: None),
    ],
    ids=["usual", "weak", "weak at first", "bare at first", "bare", "only at first", "only later", "none"],
)
@pytest.mark.parametrize("refuse_conditions", [False, True])
def test_however_a_server_tells_versions_objects_are_read_whole(
    scripted: ScriptedS3, head: Tag, get: Tag, refuse_conditions: bool
) -> None:
    data = bytes(range(256)) * 100
    scripted.objects = {"b": {"x": data}}
    scripted.tags, scripted.refuse_conditions = {"HEAD": head, "GET": get}, refuse_conditions
    store = open_objects("s3://b")
    stat = store.stat("s3://b/x")
    if refuse_conditions and head('"x"') and not get('"x"'):  # nothing tells which object the bytes are of
        with pytest.raises(ChangedObjectError):
            store.read(stat, 3, 7)
        return
    assert store.read(stat, 3, 7) == data[3:7]
    scripted.objects["b"]["x"] = data[::-1]
    if head('"x"'):  # else only the time of the last change tells
        with pytest.raises(ChangedObjectError):
            store.read(stat, 3, 7)


def test_a_web_page_is_no_s3(scripted: ScriptedS3, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted.objects = {"b": {"x": b"<html>"}}
    monkeypatch.setattr("tests.services.scripted_s3._Handler._send_tag", lambda self, data: None)
    with pytest.raises(StorageError) as caught:
        open_objects("s3://b").stat("s3://b/x")
    one_line(caught.value, "s3://b/x", "without ETag", "AWS_ENDPOINT_URL")


def test_the_requester_pays_if_that_is_agreed(scripted: ScriptedS3, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted.objects = {"b": {"x": b"hello"}}
    for agreed, wanted in (("0", None), ("1", "requester")):
        monkeypatch.setenv("FLPRIVACY_STORAGE_S3_REQUESTER_PAYS", agreed)
        scripted.headers.clear()
        store = open_objects("s3://b")
        assert store.read(store.stat("s3://b/x"), 0, 5) == b"hello"
        assert [one.get("x-amz-request-payer") for one in scripted.headers] == [wanted, wanted]
    scripted.refuse = (403, "AccessDenied")
    with pytest.raises(StorageError) as caught:
        store.stat("s3://b/x")
    one_line(caught.value, "FLPRIVACY_STORAGE_S3_REQUESTER_PAYS=1")


def test_a_file_of_the_credentials_that_is_not_there(scripted: ScriptedS3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such/file")
    with pytest.raises(StorageError) as caught:
        open_objects("s3://b").stat("s3://b/x")
    one_line(caught.value, "s3://b/x", "AWS_WEB_IDENTITY_TOKEN_FILE")
    assert "/no/such/file" not in str(caught.value)


def test_a_region_that_is_none(scripted: ScriptedS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu west 1")
    with pytest.raises(StorageError) as caught:
        open_objects("s3://b").stat("s3://b/x")
    one_line(caught.value, "s3://b/x", "AWS_REGION")


@pytest.mark.parametrize("depth", range(0, 60, 7))
def test_another_region_is_named_wherever_the_recursion_ends(scripted: ScriptedS3, depth: int) -> None:
    """boto3 follows a redirect without a region until Python stops it, which may strike inside its HTTP client."""
    scripted.refuse = (301, "PermanentRedirect")

    def ask(deeper: int) -> None:
        if deeper:
            ask(deeper - 1)
        else:
            open_objects("s3://b").stat("s3://b/x")

    with pytest.raises(StorageError) as caught:
        ask(depth)
    one_line(caught.value, "s3://b/x", "another region", "AWS_REGION")


def test_names_that_no_bucket_has(scripted: ScriptedS3) -> None:
    for uri in ("s3://UPPER_case!/x", "s3://b"):
        with pytest.raises(StorageError) as caught:
            open_objects(uri).stat(uri)
        one_line(caught.value, uri)
