"""Objects in S3 and in servers that speak its protocol, through botocore, on which boto3 stands."""

import base64
import contextlib
import functools
import hashlib
import io
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import create_loader
from botocore.session import get_session

from flprivacy import __version__
from flprivacy.core.errors import ConfigError, StorageError
from flprivacy.storage.backends.contract import (
    SHA256_METADATA,
    MissingObjectError,
    ObjectStat,
    bucket_and_key,
    changed_while_read,
)
from flprivacy.storage.backends.s3_errors import asked_too_deep, shown, translate
from flprivacy.storage.config import StorageConfig
from flprivacy.storage.retry import Contact, Retries, TransientError
from flprivacy.storage.uris import split_folder

_CHUNK_BYTES = 1 << 20
_MOST_PARTS = 10_000
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")


class S3Backend:
    """Buckets of one S3 server. The client is shared by threads, and made when first needed."""

    def __init__(self, config: StorageConfig, contact: Contact) -> None:
        self._config, self._contact = config, contact
        self._lock = threading.Lock()
        self._made: Any = None

    def stat(self, uri: str) -> ObjectStat:
        """Look at an object."""
        bucket, key = bucket_and_key(uri)
        with self._one_line(uri) as client:
            try:
                found = client.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                self._explain(client, error, bucket, key)
                raise
            version = _version(found) or self._no_s3(client, uri)
        return ObjectStat(uri=uri, size=found["ContentLength"], version=version, checksum=_checksum(found))

    def list(self, uri: str) -> Iterator[ObjectStat]:
        """Yield every object below a folder."""
        bucket, prefix = split_folder(uri)
        with self._one_line(uri) as client:
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for one in page.get("Contents", ()):
                    if not one["Key"].endswith("/"):
                        version = _version(one) or self._no_s3(client, uri)
                        yield ObjectStat(uri=f"s3://{bucket}/{one['Key']}", size=one["Size"], version=version)

    def read(self, stat: ObjectStat, start: int, stop: int) -> Generator[bytes, None, None]:
        """Yield a range of an object's bytes, as long as its ETag stays the one of ``stat``."""
        if start >= stop:
            return
        bucket, key = bucket_and_key(stat.uri)
        with self._one_line(stat.uri) as client:
            answer = _get(client, stat, Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}")
            with contextlib.closing(answer["Body"]) as body:
                _check_answer(answer, stat, start, stop)
                left = stop - start
                while left:
                    chunk: bytes = body.read(min(_CHUNK_BYTES, left))
                    if not chunk:
                        raise TransientError(f"{stat.uri}: the answer ended {left} bytes early")
                    left -= len(chunk)
                    yield chunk

    def upload(self, path: Path, uri: str, sha256: str) -> None:
        """Store a file; the server checks the MD5 of what it receives."""
        bucket, key = bucket_and_key(uri)
        size = path.stat().st_size
        if size > self._config.part_bytes:
            self._upload_parts(path, uri, size, sha256)
            return
        body = path.read_bytes()
        with self._one_line(uri) as client:
            metadata = {SHA256_METADATA: sha256}
            client.put_object(Bucket=bucket, Key=key, Body=body, ContentMD5=_md5(body), Metadata=metadata)

    def delete(self, uri: str) -> None:
        """Remove an object; S3 does not tell whether there was one."""
        bucket, key = bucket_and_key(uri)
        with self._one_line(uri) as client:
            client.delete_object(Bucket=bucket, Key=key)

    def _upload_parts(self, path: Path, uri: str, size: int, sha256: str) -> None:
        bucket, key = bucket_and_key(uri)
        place: dict[str, Any] = {"Bucket": bucket, "Key": key}
        part_bytes = max(self._config.part_bytes, 5 << 20, -(-size // _MOST_PARTS))
        with self._one_line(uri) as client:
            begun = client.create_multipart_upload(**place, Metadata={SHA256_METADATA: sha256})
        place["UploadId"] = begun["UploadId"]
        try:
            parts: list[dict[str, Any]] = []
            with path.open("rb") as stream:
                while data := stream.read(part_bytes):
                    tag = self._upload_part(uri, place, len(parts) + 1, data)
                    parts.append({"PartNumber": len(parts) + 1, "ETag": tag})
            self._complete(uri, place, parts, sha256)
        except BaseException:
            with contextlib.suppress(StorageError), self._one_line(uri) as client:
                client.abort_multipart_upload(**place)
            raise

    def _upload_part(self, uri: str, place: Mapping[str, str], number: int, data: bytes) -> str:
        def once() -> str:
            with self._one_line(uri) as client:
                body = io.BytesIO(data)
                answer = client.upload_part(**place, PartNumber=number, Body=body, ContentMD5=_md5(data))
                return str(answer.get("ETag") or self._no_s3(client, uri))

        return self._contact.retrying(once)

    def _complete(self, uri: str, place: Mapping[str, str], parts: Sequence[dict[str, Any]], sha256: str) -> None:
        retries = Retries(self._contact)
        while True:
            try:
                with self._one_line(uri) as client:
                    client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
                return
            except TransientError as error:
                retries.failed(error)
            except StorageError:
                # The answer to an earlier try may have been lost after it had been carried out.
                with contextlib.suppress(MissingObjectError):
                    if self.stat(uri).checksum == f"sha256:{sha256}":
                        return
                raise

    @contextmanager
    def _one_line(self, uri: str) -> Iterator[Any]:
        """Yield the client; turn its errors into ours."""
        client = self._client(uri)
        try:
            yield client
        except (ClientError, BotoCoreError, RecursionError, FileNotFoundError, PermissionError) as error:
            if asked_too_deep(error):
                raise StorageError(f"{uri}: the bucket is in another region; set AWS_REGION to it") from error
            raise translate(error, uri, shown(client.meta.endpoint_url)) from error

    def _no_s3(self, client: Any, uri: str) -> str:
        raise StorageError(
            f"{uri}: {shown(client.meta.endpoint_url)} answers without ETag, so it does not speak S3; check "
            "AWS_ENDPOINT_URL (the port of a web console, or a proxy's page?)"
        )

    def _explain(self, client: Any, error: ClientError, bucket: str, key: str) -> None:
        """Ask again in a way that makes the server say why: the answer to a HEAD has no room for a reason."""
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500) < 500:
            client.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")["Body"].close()

    def _client(self, uri: str) -> Any:
        with self._lock:
            if self._made is None:
                try:
                    self._made = _client(self._config)
                except BotoCoreError as error:
                    raise translate(error, uri, shown(self._config.s3_endpoint or "the S3 server")) from error
                except ValueError as error:  # what botocore raises for an endpoint that is no URL
                    raise ConfigError(
                        f"the S3 endpoint {shown(self._config.s3_endpoint)!r} is not a URL; "
                        "set AWS_ENDPOINT_URL to one such as https://host:9000"
                    ) from error
            return self._made


def _client(config: StorageConfig) -> Any:
    """Make a client. Servers other than Amazon's rarely have a name for each bucket: those get it in the path."""
    if config.s3_addressing != "auto":
        return _make_client(config, config.s3_addressing)
    if config.s3_endpoint:
        return _make_client(config, "virtual" if _is_amazon(config.s3_endpoint) else "path")
    client = _make_client(config, "auto")
    return client if _is_amazon(client.meta.endpoint_url) else _make_client(config, "path")


def _is_amazon(endpoint: str) -> bool:
    return (urlsplit(endpoint).hostname or "").endswith(_AMAZON)


def _make_client(config: StorageConfig, addressing: str) -> Any:
    settings: dict[str, Any] = {
        "retries": {"total_max_attempts": 1, "mode": "standard"},  # we try again ourselves, in one place
        "max_pool_connections": config.threads + 2,
        "connect_timeout": config.connect_timeout_seconds,
        "read_timeout": config.read_timeout_seconds,
        "tcp_keepalive": True,
        "s3": {"addressing_style": addressing},
        # Checksums in trailers are more than some servers understand; we send and compare digests of our own.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "user_agent_extra": f"flprivacy/{__version__}",
    }
    if config.s3_anonymous:
        settings["signature_version"] = UNSIGNED
    session = get_session()
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    region = config.s3_region or session.get_config_variable("region")
    endpoint = config.s3_endpoint or None
    if endpoint and not region:
        region = "us-east-1"
    client = session.create_client("s3", region_name=region or None, endpoint_url=endpoint, config=Config(**settings))
    if config.s3_requester_pays:
        client.meta.events.register("before-call.s3", _agree_to_pay)
    return client


def _agree_to_pay(params: dict[str, Any], **_: Any) -> None:
    params["headers"]["x-amz-request-payer"] = "requester"


@functools.cache
def _loader(search_path: str | None) -> Any:
    """Return what reads the SDK's descriptions of services; kept, as that takes longer than the rest of a client."""
    return create_loader(search_path)


def _get(client: Any, stat: ObjectStat, **asked: Any) -> Any:
    """Ask for bytes of an object as it was looked at.

    Some servers refuse every If-Match: they are asked once more without, and the ETag of the answer decides.
    """
    if not stat.version.startswith('"'):
        return client.get_object(**asked)
    try:
        return client.get_object(**asked, IfMatch=stat.version)
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != HTTPStatus.PRECONDITION_FAILED:
            raise
    answer = client.get_object(**asked)
    if not _version(answer).startswith('"'):
        answer["Body"].close()
        raise changed_while_read(stat.uri)
    return answer


def _version(found: Mapping[str, Any]) -> str:
    """Return the version in an answer's headers, ``"tag"``, or the time of its last change; empty if it has neither.

    Proxies that compress mark an ETag as weak, and some servers leave out its quotes: neither changes what it names.
    """
    tag = str(found.get("ETag", "")).removeprefix("W/").strip('"')
    return f'"{tag}"' if tag else str(found.get("LastModified", ""))


def _check_answer(answer: Mapping[str, Any], stat: ObjectStat, start: int, stop: int) -> None:
    """Refuse bytes that are not those asked for, though the status is good."""
    tagged = stat.version.startswith('"')
    found = _version(answer) if tagged else str(answer.get("LastModified", ""))
    if found != stat.version and not (tagged and "ETag" not in answer):  # that one was held against If-Match
        raise changed_while_read(stat.uri)
    whole = start == 0 and stop == stat.size and "ContentRange" not in answer
    if not whole and answer.get("ContentRange", "") != f"bytes {start}-{stop - 1}/{stat.size}":
        raise TransientError(f"{stat.uri}: the server sent another range than bytes {start} to {stop - 1}")


def _checksum(found: Mapping[str, Any]) -> str:
    """Return the digest that an object's headers tell: ours, or the MD5 that a plain object's ETag is."""
    own = found.get("Metadata", {}).get(SHA256_METADATA, "")
    if len(own) == 64:
        return f"sha256:{own}"
    tag = _version(found).strip('"')
    encrypted = "SSECustomerAlgorithm" in found or str(found.get("ServerSideEncryption", "AES256")) != "AES256"
    plain = len(tag) == 32 and not set(tag) - set("0123456789abcdef")
    return f"md5:{tag}" if plain and not encrypted else ""


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
