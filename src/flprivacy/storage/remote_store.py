"""The store behind a network: artifacts and checkpoints that outlive the machine that makes them.

A folder on this machine (:class:`~flprivacy.storage.store.Store`) is what steps see; the object store is what a new
machine begins from. Layout below the store's URI: ``<kind>/<key>/`` holds a finished artifact
(:mod:`~flprivacy.storage.remote_artifact`), ``work/<kind>-<key>/`` the checkpoints of one under way
(:mod:`~flprivacy.storage.remote_work`). Keys are digests: no name of an object says anything about anyone.

An object store has no locks. Two machines may make one artifact at a time: what they store goes by its content, so
neither can damage the other's, and who finishes last takes what was published first.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flprivacy.core.digests import digest_bytes
from flprivacy.core.events import emit
from flprivacy.storage.mirror import Mirror, MirrorConfig, mirrored_number, mirroring
from flprivacy.storage.object_store import ObjectStore, open_objects
from flprivacy.storage.remote_artifact import RemoteArtifact
from flprivacy.storage.remote_work import RemoteWork
from flprivacy.storage.store import Make, Store, tell_reused
from flprivacy.storage.uris import FILE, join, scheme_of, split_bucket

LOGGER = logging.getLogger(__name__)

# Cohorts stay on this machine: they are pulled from where they are published, or generated in less time than they
# are sent, and copies of scans are not made without being asked for.
LOCAL_KINDS = ("cohort",)


@dataclass(frozen=True, kw_only=True)
class RemoteStore:
    """Artifacts keyed by digest behind a URI, with a folder on this machine as cache.

    Attributes:
        uri: below which everything lies.
        cache: the store on this machine.
        mirror: how checkpoints are copied.
    """

    uri: str
    cache: Store
    mirror: MirrorConfig = field(default_factory=MirrorConfig)

    def __post_init__(self) -> None:
        if scheme_of(self.uri) != FILE:
            split_bucket(self.uri)

    def build(self, kind: str, inputs: Mapping[str, Any], make: Make) -> Path:
        """Return the finished folder for these inputs, from here, from behind the network, or made now.

        While ``make`` runs, the checkpoints that it announces are copied; a new machine carries on from the last copy.

        Args and returns as for :class:`~flprivacy.storage.store.ArtifactStore`.

        Raises:
            StorageError: the cache is not writable; or what is behind the network can neither be read nor told to be
                absent; or the finished artifact cannot be published.
        """
        if kind in LOCAL_KINDS:
            return self.cache.build(kind, inputs, make)
        key = self.cache.key(kind, inputs)
        with self.cache.locked(kind, key):
            return _Build(self, kind, key).run(make)


class _Build:
    """One artifact's way from here to there, under its lock on this machine."""

    def __init__(self, store: RemoteStore, kind: str, key: str) -> None:
        self._store, self._cache, self._kind, self._key = store, store.cache, kind, key
        self._entry = store.cache.entry(kind, key)
        self._notes = store.cache.root / "mirrors" / f"{kind}-{key}"
        place = digest_bytes(store.uri.rstrip("/").encode())[:16]
        self._published = store.cache.root / "published" / place / f"{kind}-{key}"
        self._objects = open_objects(store.uri)
        uri = join(store.uri, f"{kind}/{key}")
        self._artifact = RemoteArtifact(store=self._objects, uri=uri, kind=kind, key=key)

    def run(self, make: Make) -> Path:
        """Return the finished folder."""
        if self._entry.is_dir() and self._published.exists():
            tell_reused(self._kind, self._key)
            return self._entry
        scratch = self._notes / "artifact"
        if not self._entry.is_dir():
            if self._artifact.fetch(self._entry, scratch=scratch):
                tell_reused(self._kind, self._key)
                return self._finish()
            self._make(make)
        if not self._artifact.publish(self._entry, scratch=scratch):
            LOGGER.warning("%s %s: was finished elsewhere first; that result is used", self._kind, self._key[:12])
            self._artifact.fetch(self._entry, scratch=scratch)
        return self._finish()

    def _make(self, make: Make) -> None:
        def mirrored(work: Path, out: Path) -> None:
            with mirroring(self._mirror(work)):
                make(work, out)

        self._cache.make(self._kind, self._key, mirrored)

    def _mirror(self, work: Path) -> Mirror:
        """Bring the newest checkpoint, where it is newer than what is here, and return what keeps its copy up."""
        here = mirrored_number(self._notes) if any(work.iterdir()) else -1
        remote = self._work(self._objects)
        restored = remote.restore(work, newer_than=here, scratch=self._notes / "work")
        stored = remote.contents() if restored is None else [one.sha256 for one in restored.files.values()]
        if restored is not None:
            text = f"{self._kind}: carrying on from checkpoint {restored.number} of {self._store.uri}"
            LOGGER.info("%s", text)
            emit("note", text=text)
        return Mirror(
            self._work(open_objects(self._store.uri)),  # a store of its own, which can be given up alone
            work,
            notes=self._notes,
            files=restored.files if restored else {},
            stored=stored,
            number=restored.number if restored else max(here, 0),
            config=self._store.mirror,
        )

    def _work(self, objects: ObjectStore) -> RemoteWork:
        uri = join(self._store.uri, f"work/{self._kind}-{self._key}")
        return RemoteWork(store=objects, uri=uri, kind=self._kind, key=self._key)

    def _finish(self) -> Path:
        """Remember that the artifact is published, and remove what it was made from."""
        self._published.parent.mkdir(parents=True, exist_ok=True)
        self._published.touch()
        self._work(self._objects).remove()
        shutil.rmtree(self._notes, ignore_errors=True)
        return self._entry
