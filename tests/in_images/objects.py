"""What KFP's launcher does around a step: it brings artifacts from the object store, and takes them back."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

# Ceph's gateway of Debian 12 knows none of the newer checksums.
_CONFIG = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")


class Objects:
    """An S3 server, with the rights of the tests."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._s3: Any = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
            config=_CONFIG,
        )

    def make_bucket(self, name: str) -> None:
        """Create a bucket."""
        self._s3.create_bucket(Bucket=name)

    def keys(self, uri: str) -> dict[str, int]:
        """Return the objects under a URI, and their sizes."""
        bucket, prefix = _parts(uri)
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", ())}

    def read(self, uri: str) -> bytes:
        """Return the bytes of an object."""
        bucket, key = _parts(uri)
        return bytes(self._s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    def bring(self, uri: str, path: Path) -> None:
        """Copy an object, or all that lie under ``uri/``, to a path of this machine.

        Raises:
            AssertionError: there is nothing.
        """
        bucket, prefix = _parts(uri)
        keys = [key for key in self.keys(uri) if key == prefix or key.startswith(f"{prefix}/")]
        assert keys, f"{uri}: nothing there"
        for key in keys:
            file = path / key.removeprefix(f"{prefix}/") if key != prefix else path
            file.parent.mkdir(parents=True, exist_ok=True)
            self._s3.download_file(bucket, key, str(file))

    def take(self, path: Path, uri: str) -> int:
        """Copy a file, or all files of a folder, to a URI; return how many."""
        bucket, prefix = _parts(uri)
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        for file in files:
            key = prefix if file == path else f"{prefix}/{file.relative_to(path)}"
            self._s3.upload_file(str(file), bucket, key)
        return len(files)


def _parts(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri)
    assert parts.scheme == "s3", uri
    return parts.netloc, parts.path.lstrip("/")
