"""The store: finished artifacts and checkpoints in a folder, keyed by the digest of what went into them.

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
from typing import Any

from flprivacy.core.digests import digest_json
from flprivacy.core.errors import StorageError
from flprivacy.core.events import emit
from flprivacy.core.publish import publish_folder
from flprivacy.storage.fingerprint import fingerprint

LOGGER = logging.getLogger(__name__)

CODE_OF_KIND: dict[str, tuple[str, ...]] = {
    "cohort": ("core", "cohorts"),
    "target": ("core", "cohorts", "models", "privacy", "training"),
    "scores": ("core", "cohorts", "models", "attacks"),
    "audit": ("core", "auditing"),
    "report": ("core", "reporting"),
    "dp_check": ("core", "privacy", "auditing", "reporting"),
}


@dataclass(frozen=True)
class Store:
    """A folder of artifacts keyed by digest.

    Attributes:
        root: the folder; created on first use.
    """

    root: Path

    def key(self, kind: str, inputs: Mapping[str, Any]) -> str:
        """Return the digest of an artifact's inputs and of the code that makes its kind."""
        return digest_json({"kind": kind, "inputs": dict(inputs), "code": fingerprint(CODE_OF_KIND[kind])})

    def build(self, kind: str, inputs: Mapping[str, Any], make: Callable[[Path, Path], None]) -> Path:
        """Return the finished folder for these inputs; make it first if it is absent.

        Args:
            kind: a key of CODE_OF_KIND.
            inputs: JSON-able; everything that the artifact's content depends on, other artifacts by digest.
            make: called with a folder for checkpoints (kept until the artifact is finished, so that an
                interrupted call carries on) and an empty folder to fill.

        Raises:
            StorageError: the store's folder is not writable.
        """
        key = self.key(kind, inputs)
        entry, work = self.root / kind / key, self.root / "work" / f"{kind}-{key}"
        with self._lock(f"{kind}-{key}"):
            if entry.is_dir():
                LOGGER.info("%s: unchanged, reused %s", kind, key[:12])
                emit("reused", artifact=kind)
                return entry
            self._make_folder(work)
            with publish_folder(entry) as partial:
                make(work, partial)
            shutil.rmtree(work)
        return entry

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{folder}: cannot create this folder ({error.strerror}); choose a store that you may write to"
            ) from error

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """Hold the artifact's lock; the system releases it when the holder dies, however it dies."""
        folder = self.root / "locks"
        self._make_folder(folder)
        try:
            handle = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StorageError(
                f"{folder}: cannot write here ({error.strerror}); choose a store that you may write to"
            ) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                LOGGER.info("%s: another process is making this; waiting for it", name)
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def deliver(entry: Path, destination: Path) -> None:
    """Put a finished folder at ``destination``: hard links where the file system allows, copies elsewhere."""
    with publish_folder(destination) as partial:
        shutil.copytree(entry, partial, dirs_exist_ok=True, copy_function=_link_or_copy)


def _link_or_copy(source: str, destination: str) -> None:
    try:
        os.link(source, destination)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, destination)
