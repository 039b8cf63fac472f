"""Checksums as text: ``sha256:`` or ``md5:`` and hexadecimal digits, ``crc32c:`` and base64 as Google writes it."""

import base64
import hashlib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from flprivacy.core.errors import StorageError

_CHUNK_BYTES = 1 << 20


class _Algorithm(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc32c:
    """CRC32C; the library's own class takes no memory views."""

    def __init__(self) -> None:
        from google_crc32c import extend

        self._extend, self._value = extend, 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = self._extend(self._value, bytes(data))

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


_ALGORITHMS: dict[str, Callable[[], _Algorithm]] = {
    "sha256": hashlib.sha256,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "crc32c": _Crc32c,
}


class Checksum:
    """A checksum of bytes that arrive one after another."""

    def __init__(self, like: str) -> None:
        """Start one with the algorithm of ``like``, a checksum as text; with a quick one where it is empty."""
        self._name = like.partition(":")[0] or _quick_algorithm()
        self._running = _ALGORITHMS[self._name]()

    def update(self, data: bytes | memoryview) -> None:
        """Take in more bytes."""
        self._running.update(data)

    def text(self) -> str:
        """Return the checksum of the bytes so far."""
        digest = self._running.digest()
        return f"{self._name}:{base64.b64encode(digest).decode() if self._name == 'crc32c' else digest.hex()}"


@cache
def _quick_algorithm() -> str:
    """Return ``crc32c``, or what Python itself has where Google's library is not installed."""
    return "crc32c" if find_spec("google_crc32c") else "sha256"


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
