"""Atomic publication: a file or folder is whole or absent, never half-written."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flprivacy.core.errors import StorageError


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _writable_parent(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path.parent}: cannot create this folder ({error.strerror}); choose a folder that you may write to"
        ) from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise StorageError(f"{path.parent}: not writable by this user; choose another folder or change its permissions")
    return path.parent


@contextmanager
def publish_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success rename it there, on any failure remove it.

    Args:
        path: where the file is to be.
        durable: wait until the disk has it. Without, a power failure, though no kill, may leave an empty file.

    Raises:
        StorageError: the folder cannot be created or is not writable.
    """
    parent = _writable_parent(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)
        if durable:
            _fsync(partial)
        partial.replace(path)
        if durable:
            _fsync(parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def publish_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success rename it there, on any failure remove it.

    A folder already at ``path`` is replaced.

    Raises:
        StorageError: the parent cannot be created or is not writable.
    """
    parent = _writable_parent(path)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=parent))
    try:
        yield partial
        partial.chmod(0o755)
        for file in partial.rglob("*"):
            if file.is_file():
                _fsync(file)
        if path.exists():
            shutil.rmtree(path)
        partial.replace(path)
        _fsync(parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def link_or_copy(source: str | Path, destination: str | Path) -> None:
    """Put a file's bytes at ``destination`` too, where nothing is yet: by a hard link, or by a copy elsewhere."""
    try:
        os.link(source, destination)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, destination)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` atomically as indented JSON with sorted keys."""
    with publish_file(path) as partial:
        partial.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")
