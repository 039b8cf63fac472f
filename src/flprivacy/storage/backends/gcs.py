"""Objects in Google Cloud Storage, through google-cloud-storage."""

import contextlib
import os
import re
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests  # type: ignore[import-untyped]
import urllib3
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

from flprivacy.core.errors import StorageError
from flprivacy.storage.backends.contract import (
    SHA256_METADATA,
    MissingObjectError,
    ObjectStat,
    bucket_and_key,
    changed_while_read,
)
from flprivacy.storage.config import StorageConfig
from flprivacy.storage.retry import TransientError
from flprivacy.storage.uris import split_folder

_EMULATOR_VARIABLE = "STORAGE_EMULATOR_HOST"
# The library otherwise asks for the bucket's own record, from a thread beside every first request: for traces that
# nobody takes here, with a permission that who may read objects need not have.
os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
_BUSY = (408, 429)
_PAYING = re.compile("requester pays|user project|serviceusage", re.IGNORECASE)
_MOST_IN_MEMORY_BYTES = 4 << 20  # a request; the library hands over no chunks that could be passed on
_FAILURES = (
    api.GoogleAPICallError,
    auth.GoogleAuthError,
    DataCorruption,
    InvalidResponse,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
)


class GcsBackend:
    """Buckets of Google Cloud Storage. The client is shared by threads, and made when first needed."""

    def __init__(self, config: StorageConfig) -> None:
        self._config = config
        self._timeout = (config.connect_timeout_seconds, config.read_timeout_seconds)
        self._lock = threading.Lock()
        self._made: Any = None

    def stat(self, uri: str) -> ObjectStat:
        """Look at an object."""
        bucket, key = bucket_and_key(uri)
        with self._one_line(uri) as client:
            blob = self._bucket(client, bucket).blob(key)
            try:
                blob.reload(timeout=self._timeout, retry=None)
            except api.NotFound:
                self._explain(client, uri, bucket)
                raise
        return _described(blob, bucket)

    def list(self, uri: str) -> Iterator[ObjectStat]:
        """Yield every object below a folder."""
        bucket, prefix = split_folder(uri)
        with self._one_line(uri) as client:
            try:
                for blob in self._blobs(client, bucket, prefix=prefix or None):
                    if not blob.name.endswith("/"):
                        yield _described(blob, bucket)
            except api.NotFound as error:
                raise _no_bucket(uri) from error

    def read(self, stat: ObjectStat, start: int, stop: int) -> Generator[bytes, None, None]:
        """Yield a range of an object's bytes, as long as its generation stays the one of ``stat``."""
        step = min(self._config.part_bytes, _MOST_IN_MEMORY_BYTES)
        for first in range(start, stop, step):
            yield self._read_part(stat, first, min(first + step, stop))

    def _read_part(self, stat: ObjectStat, start: int, stop: int) -> bytes:
        bucket, key = bucket_and_key(stat.uri)
        sink = _Sink(stat.uri, stop - start)
        settings = {"raw_download": True, "checksum": None, "timeout": self._timeout, "retry": None}
        with self._one_line(stat.uri) as client:
            blob = self._bucket(client, bucket).blob(key)
            blob.download_to_file(sink, start=start, end=stop - 1, if_generation_match=int(stat.version), **settings)
        if blob.generation is not None and str(blob.generation) != stat.version:
            raise changed_while_read(stat.uri)
        if len(sink.data) != stop - start:
            raise TransientError(f"{stat.uri}: the server sent {len(sink.data)} bytes for {stop - start}")
        return bytes(sink.data)

    def upload(self, path: Path, uri: str, sha256: str) -> None:
        """Store a file; the server checks the CRC32C of what it received."""
        bucket, key = bucket_and_key(uri)
        with self._one_line(uri) as client:
            blob = self._bucket(client, bucket).blob(key)
            blob.metadata = {SHA256_METADATA: sha256}
            blob.chunk_size = max(1 << 18, self._config.part_bytes // (1 << 18) * (1 << 18))
            try:
                blob.upload_from_filename(str(path), checksum="crc32c", timeout=self._timeout, retry=None)
            except api.NotFound:
                self._explain(client, uri, bucket)
                raise

    def delete(self, uri: str) -> None:
        """Remove an object."""
        bucket, key = bucket_and_key(uri)
        with self._one_line(uri) as client:
            self._bucket(client, bucket).blob(key).delete(timeout=self._timeout, retry=None)

    def _explain(self, client: Any, uri: str, bucket: str) -> None:
        """Say so if it is the bucket that is missing; a caller that may not list buckets is told of the object."""
        with contextlib.suppress(api.Forbidden, api.Unauthorized):
            try:
                next(iter(self._blobs(client, bucket, max_results=1)), None)
            except api.NotFound as error:
                raise _no_bucket(uri) from error

    def _bucket(self, client: Any, name: str) -> Any:
        """Return a bucket whose requests the configured project pays, if there is one."""
        return client.bucket(name, user_project=self._config.gs_user_project or None)

    def _blobs(self, client: Any, bucket: str, **settings: Any) -> Any:
        return client.list_blobs(self._bucket(client, bucket), timeout=self._timeout, retry=None, **settings)

    @contextmanager
    def _one_line(self, uri: str) -> Iterator[Any]:
        """Yield the client; turn its errors into ours."""
        try:
            yield self._client()
        except _FAILURES as error:
            raise _translate(error, uri) from error

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                anonymous = self._config.gs_anonymous and _EMULATOR_VARIABLE not in os.environ
                made = storage.Client.create_anonymous_client() if anonymous else storage.Client(project=None)
                pool = requests.adapters.HTTPAdapter(pool_maxsize=self._config.threads)
                for scheme in ("https://", "http://"):
                    made._http.mount(scheme, pool)  # the way that the library's guide shows
                self._made = made
            return self._made


class _Sink:
    """A file that holds as many bytes as were asked for: a server that ignores the range must not fill the memory."""

    def __init__(self, uri: str, size: int) -> None:
        self.data = bytearray()
        self._uri, self._size = uri, size

    def write(self, chunk: bytes) -> int:
        if len(self.data) + len(chunk) > self._size:
            raise TransientError(f"{self._uri}: the server sent more bytes than were asked for")
        self.data += chunk
        return len(chunk)


def _described(blob: Any, bucket: str) -> ObjectStat:
    own = (blob.metadata or {}).get(SHA256_METADATA, "")
    checksum = f"sha256:{own}" if len(own) == 64 else f"crc32c:{blob.crc32c}" if blob.crc32c else ""
    uri = f"gs://{bucket}/{blob.name}"
    return ObjectStat(uri=uri, size=int(blob.size), version=str(blob.generation), checksum=checksum)


def _where() -> str:
    return os.environ.get(_EMULATOR_VARIABLE, "").rpartition("@")[2] or "Google Cloud Storage"


def _no_bucket(uri: str) -> MissingObjectError:
    return MissingObjectError(f"{uri}: no such bucket in {_where()}; check its name and the project")


def _translate(error: Exception, uri: str) -> StorageError:
    if _PAYING.search(str(error)) and getattr(error, "code", 400) in (400, 403):
        return StorageError(
            f"{uri}: the requester pays for this bucket, and no project of yours is given that may be billed; set "
            "FLPRIVACY_STORAGE_GS_USER_PROJECT to one in which the account has serviceusage.services.use"
        )
    if isinstance(error, api.GoogleAPICallError):
        return _answered(int(error.code or 0), uri)
    if isinstance(error, InvalidResponse):
        return _answered(int(error.response.status_code), uri)
    if isinstance(error, auth.InvalidOperation):  # a server that asks those for credentials who said to have none
        return StorageError(f"{uri}: {_where()} wants credentials; unset FLPRIVACY_STORAGE_GS_ANONYMOUS and log in")
    if isinstance(error, auth.DefaultCredentialsError):
        return StorageError(
            f"{uri}: no credentials found; run 'gcloud auth application-default login', set "
            "GOOGLE_APPLICATION_CREDENTIALS, or bind the workload's identity (for a public bucket set "
            "FLPRIVACY_STORAGE_GS_ANONYMOUS=1)"
        )
    if isinstance(error, auth.TransportError):
        return TransientError(f"{uri}: the token server cannot be reached", unreachable=True)
    if isinstance(error, auth.GoogleAuthError) and error.retryable:
        return TransientError(f"{uri}: the token server is busy or failing")
    if isinstance(error, auth.GoogleAuthError):
        return StorageError(
            f"{uri}: the credentials are refused: the key is wrong, or they have expired or been revoked; log in again "
            "or check GOOGLE_APPLICATION_CREDENTIALS"
        )
    if isinstance(error, DataCorruption):
        return TransientError(f"{uri}: the bytes were damaged on the way")
    if isinstance(error, requests.exceptions.SSLError):
        return StorageError(f"{uri}: {_where()} shows no certificate that is trusted here; set REQUESTS_CA_BUNDLE")
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
        return StorageError(f"{uri}: {_EMULATOR_VARIABLE} is not a URL; set it to one such as http://host:9023")
    unreachable = isinstance(error, requests.exceptions.ConnectionError) and "NewConnectionError" in str(error)
    what = "cannot be reached" if unreachable else "broke the connection"
    return TransientError(f"{uri}: {_where()} {what} ({type(error).__name__})", unreachable=unreachable)


def _answered(status: int, uri: str) -> StorageError:
    if status >= 500 or status in _BUSY:
        return TransientError(f"{uri}: {_where()} is busy or failing ({status})")
    if status == 404:
        return MissingObjectError(f"{uri}: no such object in {_where()}; check the URI")
    if status in (412, 416):
        return changed_while_read(uri)
    if status == 401:
        return StorageError(f"{uri}: {_where()} does not know the credentials, or they have expired; log in again")
    if status == 403:
        return StorageError(
            f"{uri}: access denied by {_where()}; grant the account storage.objects.get (and storage.objects.create to "
            "publish)"
        )
    return StorageError(f"{uri}: {_where()} refuses the request ({status}); check the URI")
