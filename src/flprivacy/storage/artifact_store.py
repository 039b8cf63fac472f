"""The artifact store: finished results and checkpoints in a folder, keyed by the digest of what went into them.

Layout: ``<root>/<kind>/<key>/`` holds a finished artifact, ``<root>/work/<kind>-<key>/`` the checkpoints of one
under way, ``<root>/locks/`` a lock file for each. A finished folder is published by one rename: whole or absent.

With a remote location as well (:mod:`~flprivacy.storage.remote_artifacts`), results and checkpoints outlive this
machine: the folder is what steps see, the remote location what a new machine begins from.
"""

import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flprivacy.core.digests import digest_json
from flprivacy.core.errors import StorageError
from flprivacy.core.events import emit
from flprivacy.core.publish import link_or_copy, publish_folder
from flprivacy.core.tensorflow_environment import numeric_settings
from flprivacy.storage.checkpoint_mirror import DEFAULT_INTERVAL_SECONDS
from flprivacy.storage.code_fingerprint import fingerprint_of_kind
from flprivacy.storage.inventory import content_digest, take_inventory
from flprivacy.storage.remote_artifacts import RemoteArtifact
from flprivacy.storage.uris import FILE, scheme_of, split_bucket

LOGGER = logging.getLogger(__name__)
_KINDS_OF_KERAS = ("target", "reference", "generator", "synthetic", "generator_audit", "scores")
# Cohorts stay on this machine: they are pulled from where they are published, or generated in less time than they
# are sent, and copies of scans are not made without being asked for.
_LOCAL_KINDS = ("cohort",)
Make = Callable[[Path, Path], None]
_delivered: dict[Path, Path] = {}  # what this process put where


@dataclass(frozen=True)
class Store:
    """Artifacts keyed by digest."""

    root: Path  # the folder on this machine; created on first use
    remote: str = ""  # URI below which they are kept as well; empty: only here
    interval_seconds: float = DEFAULT_INTERVAL_SECONDS  # rest after each remote copy of a checkpoint; new ones wait

    def __post_init__(self) -> None:
        if self.remote and scheme_of(self.remote) != FILE:
            split_bucket(self.remote)

    def key(self, kind: str, inputs: Mapping[str, Any]) -> str:
        """Return the digest of an artifact's inputs, its kind's code and, if Keras makes it, TensorFlow's settings."""
        parts = {"kind": kind, "inputs": dict(inputs), "code": fingerprint_of_kind(kind)}
        if kind in _KINDS_OF_KERAS:
            parts["settings"] = numeric_settings()
        return digest_json(parts)

    def build(self, kind: str, inputs: Mapping[str, Any], make: Make) -> Path:
        """Return the finished folder for these inputs: from here, from the remote location, or made now.

        Args:
            kind: what it is: ``cohort``, ``generator``, ``synthetic``, ``target``, ``reference``, ``scores``,
                ``audit``, ``report``, ``generator_audit`` or ``dp_check``.
            inputs: JSON-able; everything that the artifact's content depends on, other artifacts by digest.
            make: called with a folder for checkpoints (kept until the artifact is finished, so that an interrupted
                call carries on; copied to the remote location when announced) and an empty folder to fill.

        Raises:
            StorageError: the folder is not writable; or what is remote can neither be read nor told to be absent; or
                the finished artifact cannot be published there.
        """
        key = self.key(kind, inputs)
        entry = self.root / kind / key
        with self.locked(f"{kind}-{key}"):
            remote = self._behind(kind, key)
            if entry.is_dir() or (remote is not None and remote.fetch(entry)):
                LOGGER.info("%s: unchanged, reused %s", kind, key[:12])
                emit("reused", artifact=kind)
            else:
                self._make(entry, make, remote)
                emit("made", artifact=kind)
            if remote is not None:
                remote.publish(entry)
        return entry

    def keep(self, kind: str, folder: Path) -> Path:
        """Keep a folder as it is, under the digest of its content, and return its entry; StorageError as for build."""
        key = content_digest(take_inventory(folder))
        entry = self.root / kind / key
        with self.locked(f"{kind}-{key}"):
            if not entry.is_dir():
                deliver(folder, entry)
            remote = self._behind(kind, key)
            if remote is not None:
                remote.publish(entry)
        return entry

    def bring(self, kind: str, key: str) -> Path | None:
        """Return a finished folder, from here or from the remote location; None if there is none any more."""
        entry = self.root / kind / key
        with self.locked(f"{kind}-{key}"):
            remote = self._behind(kind, key)
            there = entry.is_dir() or (remote is not None and remote.fetch(entry))
        return entry if there else None

    def _behind(self, kind: str, key: str) -> RemoteArtifact | None:
        """Return an artifact's other place, if it has one."""
        if not self.remote or kind in _LOCAL_KINDS:
            return None
        return RemoteArtifact(self.remote, kind, key, disk=self.root)

    def _make(self, entry: Path, make: Make, remote: RemoteArtifact | None) -> None:
        work = self.root / "work" / f"{entry.parent.name}-{entry.name}"
        _make_folder(work)
        mirroring = nullcontext() if remote is None else remote.mirroring(work, self.interval_seconds)
        with publish_folder(entry) as partial, mirroring:
            make(work, partial)
        shutil.rmtree(work)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock of that name; the system releases it when the holder dies, however it dies."""
        folder = self.root / "locks"
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


def deliver(entry: Path, destination: Path) -> None:
    """Put a finished folder at ``destination``: hard links where the file system allows, copies elsewhere."""
    with publish_folder(destination) as partial:
        shutil.copytree(entry, partial, dirs_exist_ok=True, copy_function=link_or_copy)
    note_delivery(entry, destination)


def note_delivery(entry: Path, destination: Path) -> None:
    """Remember that what lies at ``destination`` is what lies in a folder, or part of it."""
    _delivered[destination] = entry


def delivered_from(destination: Path) -> Path | None:
    """Return the folder that this process put at ``destination``; None if it put none."""
    return _delivered.get(destination)
