"""Checksums as text: ``sha256:`` or ``md5:`` and hexadecimal digits, ``crc32c:`` and base64 as Google writes it."""

import base64
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flprivacy.core.errors import StorageError

_CHUNK_BYTES = 1 << 20


class Checksum:
    """A checksum of bytes that arrive one after another."""

    def __init__(self, like: str) -> None:
        """Start one with the algorithm of ``like``, a checksum as text; with a quick one where it is empty."""
        self._name = like.partition(":")[0] or _quick_algorithm()
        if self._name == "crc32c":
            from google_crc32c import Checksum as Crc32c

            self._running: Any = Crc32c()  # type: ignore[no-untyped-call]
        else:
            self._running = hashlib.new(self._name, usedforsecurity=False)

    def update(self, data: bytes | memoryview) -> None:
        """Take in more bytes."""
        self._running.update(bytes(data) if self._name == "crc32c" else data)  # Google's class takes no memory views

    def text(self) -> str:
        """Return the checksum of the bytes so far."""
        digest = self._running.digest()
        return f"{self._name}:{base64.b64encode(digest).decode() if self._name == 'crc32c' else digest.hex()}"


@cache
def _quick_algorithm() -> str:
    """Return ``crc32c``, or what Python itself has where Google's library is not installed."""
    return "crc32c" if find_spec("google_crc32c") else "sha256"


def fits(path: Path, checksum: str, *, start: int = 0, size: int | None = None) -> bool:
    """Say whether bytes of a file, ``size`` from ``start`` or all to its end, are those of a checksum as text.

    An empty checksum fits all. StorageError if the file cannot be read.
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
