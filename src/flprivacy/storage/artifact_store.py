"""The artifact store: finished results and checkpoints in a folder, keyed by the digest of what went into them.

Layout: ``<root>/<kind>/<key>/`` holds a finished artifact, ``<root>/work/<kind>-<key>/`` the checkpoints of one
under way, ``<root>/locks/`` a lock file for each. A finished folder is published by one rename: whole or absent.
"""

import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from flprivacy.core.digests import digest_json
from flprivacy.core.errors import StorageError
from flprivacy.core.events import emit
from flprivacy.core.publish import link_or_copy, publish_folder
from flprivacy.core.tensorflow_environment import numeric_settings
from flprivacy.storage.code_fingerprint import fingerprint_of_kind

LOGGER = logging.getLogger(__name__)
_KINDS_OF_KERAS = ("target", "scores")
Make = Callable[[Path, Path], None]


class ArtifactStore(Protocol):
    """Where finished artifacts are kept: on this machine (:class:`Store`), or behind a network as well."""

    def build(self, kind: str, inputs: Mapping[str, Any], make: Make) -> Path:
        """Return the finished folder for these inputs; make it first if it is absent.

        Args:
            kind: ``cohort``, ``target``, ``scores``, ``audit``, ``report`` or ``dp_check``.
            inputs: JSON-able; everything that the artifact's content depends on, other artifacts by digest.
            make: called with a folder for checkpoints (kept until the artifact is finished, so that an
                interrupted call carries on) and an empty folder to fill.

        Raises:
            StorageError: the store cannot be read or written.
        """


@dataclass(frozen=True)
class Store:
    """A folder of artifacts keyed by digest.

    Attributes:
        root: the folder; created on first use.
    """

    root: Path

    def key(self, kind: str, inputs: Mapping[str, Any]) -> str:
        """Return the digest of an artifact's inputs, its kind's code and, if Keras makes it, TensorFlow's settings."""
        parts = {"kind": kind, "inputs": dict(inputs), "code": fingerprint_of_kind(kind)}
        if kind in _KINDS_OF_KERAS:
            parts["settings"] = numeric_settings()
        return digest_json(parts)

    def entry(self, kind: str, key: str) -> Path:
        """Return where a finished artifact lies."""
        return self.root / kind / key

    def work(self, kind: str, key: str) -> Path:
        """Return where the checkpoints of an artifact under way lie."""
        return self.root / "work" / f"{kind}-{key}"

    def build(self, kind: str, inputs: Mapping[str, Any], make: Make) -> Path:
        """Return the finished folder for these inputs; make it first if it is absent. See :class:`ArtifactStore`.

        Raises:
            StorageError: the store's folder is not writable.
        """
        key = self.key(kind, inputs)
        with self.locked(kind, key):
            if self.entry(kind, key).is_dir():
                tell_reused(kind, key)
            else:
                self.make(kind, key, make)
        return self.entry(kind, key)

    def make(self, kind: str, key: str, make: Make) -> None:
        """Make an artifact, whose lock the caller holds, and remove its checkpoints.

        Raises:
            StorageError: the store's folder is not writable.
        """
        work = self.work(kind, key)
        _make_folder(work)
        with publish_folder(self.entry(kind, key)) as partial:
            make(work, partial)
        shutil.rmtree(work)

    @contextmanager
    def locked(self, kind: str, key: str) -> Iterator[None]:
        """Hold the artifact's lock; the system releases it when the holder dies, however it dies.

        Raises:
            StorageError: the store's folder is not writable.
        """
        folder, name = self.root / "locks", f"{kind}-{key}"
        _make_folder(folder)
        with _named(f"{folder}: cannot write here"):
            handle = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                LOGGER.info("%s: another process is making this; waiting for it", name)
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _make_folder(folder: Path) -> None:
    with _named(f"{folder}: cannot create this folder"):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{what} ({error.strerror}); choose a store that you may write to") from error


def tell_reused(kind: str, key: str) -> None:
    """Say that an artifact was not made, because it was there."""
    LOGGER.info("%s: unchanged, reused %s", kind, key[:12])
    emit("reused", artifact=kind)


def deliver(entry: Path, destination: Path) -> None:
    """Put a finished folder at ``destination``: hard links where the file system allows, copies elsewhere."""
    with publish_folder(destination) as partial:
        shutil.copytree(entry, partial, dirs_exist_ok=True, copy_function=link_or_copy)
