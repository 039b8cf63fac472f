"""Checksums as text: ``sha256:`` or ``md5:`` and hexadecimal digits, ``crc32c:`` and base64 as Google writes it."""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import google_crc32c

from flprivacy.core.errors import StorageError

SHA256, MD5, CRC32C = "sha256", "md5", "crc32c"
_CHUNK_BYTES = 1 << 20


class _Algorithm(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc32c:
    """CRC32C; the library's own class takes no memory views."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = google_crc32c.extend(self._value, bytes(data))

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def _hexadecimal(digest: bytes) -> str:
    return digest.hex()


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


_ALGORITHMS: dict[str, tuple[Callable[[], _Algorithm], Callable[[bytes], str]]] = {
    SHA256: (hashlib.sha256, _hexadecimal),
    MD5: (lambda: hashlib.md5(usedforsecurity=False), _hexadecimal),
    CRC32C: (_Crc32c, _base64),
}


class Checksum:
    """A checksum of bytes that arrive one after another."""

    def __init__(self, like: str) -> None:
        """Start one with the algorithm of ``like``, a checksum as text; CRC32C where it is empty."""
        self._name = like.partition(":")[0] or CRC32C
        begin, self._write = _ALGORITHMS[self._name]
        self._running = begin()

    def update(self, data: bytes | memoryview) -> None:
        """Take in more bytes."""
        self._running.update(data)

    def text(self) -> str:
        """Return the checksum of the bytes so far."""
        return f"{self._name}:{self._write(self._running.digest())}"


def fits(path: Path, checksum: str, *, start: int = 0, size: int | None = None) -> bool:
    """Say whether bytes of a file are those of a checksum; an empty checksum fits all.

    Args:
        path: the file.
        checksum: as text.
        start: first byte.
        size: number of bytes; None: to the end.

    Raises:
        StorageError: the file cannot be read.
    """
    if not checksum:
        return True
    running = Checksum(checksum)
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            left = path.stat().st_size - start if size is None else size
            while left:
                chunk = stream.read(min(_CHUNK_BYTES, left))
                if not chunk:
                    return False
                running.update(chunk)
                left -= len(chunk)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    return running.text() == checksum
