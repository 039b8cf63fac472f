"""Servers for the tests, started when first asked for and stopped at the end of the whole run.

A server that cannot be installed or started is an error of the test that needs it, never a skip.
"""

import atexit
import functools
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from tests.services.ceph import Gateway, ceph_gateway
from tests.services.gcs import gcs_emulator
from tests.services.own_environment import foreign_variables
from tests.services.scripted_s3 import ScriptedS3, scripted_s3

QUICK = {
    "FLPRIVACY_STORAGE_FIRST_DELAY_SECONDS": "0.005",
    "FLPRIVACY_STORAGE_LONGEST_DELAY_SECONDS": "0.02",
    "FLPRIVACY_STORAGE_READ_TIMEOUT_SECONDS": "20",
}


@functools.cache
def _gateway() -> Gateway:
    stack = ExitStack()
    gateway = stack.enter_context(ceph_gateway())
    atexit.register(stack.close)
    return gateway


def clear_environment(patch: pytest.MonkeyPatch, nothing: Path) -> None:
    """Leave no credentials, no configuration files, no metadata server: only what a test sets."""
    for name in foreign_variables():
        patch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        patch.setenv(name, str(nothing))
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in QUICK.items():
        patch.setenv(name, value)


def use_ceph(patch: pytest.MonkeyPatch) -> Gateway:
    """Let the SDK's own chain find Ceph's gateway, and return that."""
    gateway = _gateway()
    for name, value in gateway.environment().items():
        patch.setenv(name, value)
    return gateway


def new_bucket() -> str:
    """Make a bucket of the gateway in use, and return its URI."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    config = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")
    boto3.client("s3", config=config).create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No credentials, no configuration files, no metadata server: only what a test sets."""
    clear_environment(monkeypatch, tmp_path_factory.getbasetemp() / "no-such-file")


@pytest.fixture
def ceph(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """Ceph's gateway, and an environment in which the SDK's own chain finds it."""
    return use_ceph(monkeypatch)


@pytest.fixture
def bucket(ceph: Gateway) -> str:
    """A new bucket of the gateway, by its URI."""
    return new_bucket()


@pytest.fixture
def scripted(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedS3]:
    """An S3 server that fails by script, and an environment in which the SDK finds it."""
    with scripted_s3() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "scripted")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
        yield server


@pytest.fixture(scope="session")
def emulator() -> Iterator[str]:
    """The GCS emulator with the bucket ``test``; its endpoint."""
    with gcs_emulator("test") as endpoint:
        yield endpoint


@pytest.fixture
def gcs(clean_environment: None, emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new folder of the GCS emulator, by its URI."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    return f"gs://test/{uuid.uuid4().hex[:12]}"


@pytest.fixture
def nobody() -> str:
    """An endpoint where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"
