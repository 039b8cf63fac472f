"""What several tests of storage share."""

import hashlib
from pathlib import Path

import numpy as np

from flprivacy.core.retry import RetryConfig
from flprivacy.storage.config import StorageConfig

QUICK_RETRY = RetryConfig(first_delay_seconds=0.005, longest_delay_seconds=0.02)
QUICK = StorageConfig(retry=QUICK_RETRY, read_timeout_seconds=20.0)


def some_bytes(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def written(path: Path, size: int, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(some_bytes(size, seed))
    return path


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def one_line(error: BaseException, *words: str) -> None:
    """Check that a message is one line with the words expected, ends with a remedy and tells no secret."""
    text = str(error)
    assert "\n" not in text
    assert ";" in text or ":" in text
    for secret in ("secret", "very-secret-key", "TESTACCESSKEY"):
        assert secret not in text.replace("AWS_SECRET_ACCESS_KEY", "").replace("secret key", "")
    for word in words:
        assert word in text, f"{word!r} is not in: {text}"
