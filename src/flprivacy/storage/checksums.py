"""Digests of files, as the storage tells them."""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import google_crc32c

from flprivacy.core.errors import StorageError

_CHUNK_BYTES = 1 << 20


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


def _hexadecimal(digest: bytes) -> str:
    return digest.hex()


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


_ALGORITHMS: dict[str, tuple[Callable[[], _Digest], Callable[[bytes], str]]] = {
    "sha256": (hashlib.sha256, _hexadecimal),
    "md5": (lambda: hashlib.md5(usedforsecurity=False), _hexadecimal),
    "crc32c": (google_crc32c.Checksum, _base64),
}


def fits(path: Path, checksum: str) -> bool:
    """Say whether a file's bytes are those of a checksum, such as ``sha256:9f86...``; an empty one fits all.

    Raises:
        StorageError: the file cannot be read.
    """
    if not checksum:
        return True
    algorithm, _, expected = checksum.partition(":")
    begin, write = _ALGORITHMS[algorithm]
    digest = begin()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    return write(digest.digest()) == expected
