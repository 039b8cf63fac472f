"""The artifact store behind a network: results and checkpoints that outlive the machine that makes them.

A folder on this machine (:class:`~flprivacy.storage.artifact_store.Store`) is what steps see; the object store is what
a new machine begins from. Layout below the store's URI: ``<kind>/<key>/`` holds a finished artifact, its content by
digest and ``artifact.json``, an inventory, stored last; ``work/<kind>-<key>/`` holds the checkpoints of one under way
(:mod:`~flprivacy.storage.checkpoints`). Keys are digests: no name of an object says anything about anyone.

An object store has no locks. Two machines may make one artifact at a time: what they store goes by its content, so
neither can damage the other's, and who finishes last takes what was published first.
"""

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flprivacy.core.digests import digest_bytes
from flprivacy.core.errors import StorageError
from flprivacy.core.events import emit
from flprivacy.core.publish import link_or_copy, publish_folder, write_json
from flprivacy.storage.artifact_store import Make, Store, tell_reused
from flprivacy.storage.checkpoint_mirror import DEFAULT_INTERVAL_SECONDS, Mirror, mirrored_number, mirroring
from flprivacy.storage.checkpoints import RemoteCheckpoints
from flprivacy.storage.inventory import Inventory, bring, read_inventory, take_inventory, to_json
from flprivacy.storage.objects import ObjectStore, open_objects
from flprivacy.storage.upload import upload_files
from flprivacy.storage.uris import FILE, join, scheme_of, split_bucket

LOGGER = logging.getLogger(__name__)

ARTIFACT_FILE = "artifact.json"
# Cohorts stay on this machine: they are pulled from where they are published, or generated in less time than they
# are sent, and copies of scans are not made without being asked for.
LOCAL_KINDS = ("cohort",)


@dataclass(frozen=True, kw_only=True)
class RemoteStore:
    """Artifacts keyed by digest behind a URI, with a folder on this machine as cache.

    Attributes:
        uri: below which everything lies.
        cache: the store on this machine.
        interval_seconds: rest after each copy of a checkpoint, in which new ones wait.
    """

    uri: str
    cache: Store
    interval_seconds: float = DEFAULT_INTERVAL_SECONDS

    def __post_init__(self) -> None:
        if scheme_of(self.uri) != FILE:
            split_bucket(self.uri)

    def build(self, kind: str, inputs: Mapping[str, Any], make: Make) -> Path:
        """Return the finished folder for these inputs, from here, from behind the network, or made now.

        While ``make`` runs, the checkpoints that it announces are copied; a new machine carries on from the last copy.

        Args and returns as for :class:`~flprivacy.storage.artifact_store.ArtifactStore`.

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
        self._artifact = _RemoteArtifact(self._objects, uri, kind, key, scratch=self._notes / "artifact")

    def run(self, make: Make) -> Path:
        """Return the finished folder."""
        if self._entry.is_dir() and self._published.exists():
            tell_reused(self._kind, self._key)
            return self._entry
        if not self._entry.is_dir():
            if self._artifact.fetch(self._entry):
                tell_reused(self._kind, self._key)
                return self._finish()
            self._make(make)
        if not self._artifact.publish(self._entry):
            LOGGER.warning("%s %s: was finished elsewhere first; that result is used", self._kind, self._key[:12])
            self._artifact.fetch(self._entry)
        return self._finish()

    def _make(self, make: Make) -> None:
        def mirrored(work: Path, out: Path) -> None:
            with mirroring(self._mirror(work)):
                make(work, out)

        self._cache.make(self._kind, self._key, mirrored)

    def _mirror(self, work: Path) -> Mirror:
        """Bring the newest checkpoint, where it is newer than what is here, and return what keeps its copy up."""
        here = mirrored_number(self._notes) if any(work.iterdir()) else -1
        remote = self._checkpoints(self._objects)
        restored = remote.restore(work, newer_than=here, scratch=self._notes / "work")
        stored = remote.contents() if restored is None else [one.sha256 for one in restored.files.values()]
        if restored is not None:
            text = f"{self._kind}: carrying on from checkpoint {restored.number} of {self._store.uri}"
            LOGGER.info("%s", text)
            emit("note", text=text)
        return Mirror(
            self._checkpoints(open_objects(self._store.uri)),  # a store of its own, which can be given up alone
            work,
            notes=self._notes,
            files=restored.files if restored else {},
            stored=stored,
            number=restored.number if restored else max(here, 0),
            interval_seconds=self._store.interval_seconds,
        )

    def _checkpoints(self, objects: ObjectStore) -> RemoteCheckpoints:
        uri = join(self._store.uri, f"work/{self._kind}-{self._key}")
        return RemoteCheckpoints(store=objects, uri=uri, kind=self._kind, key=self._key)

    def _finish(self) -> Path:
        """Remember that the artifact is published, and remove what it was made from."""
        self._published.parent.mkdir(parents=True, exist_ok=True)
        self._published.touch()
        self._checkpoints(self._objects).remove()
        shutil.rmtree(self._notes, ignore_errors=True)
        return self._entry


class _RemoteArtifact:
    """A finished artifact's place behind a network. Its scratch folder keeps what is on its way either way."""

    def __init__(self, store: ObjectStore, uri: str, kind: str, key: str, *, scratch: Path) -> None:
        self._store, self._uri, self._kind, self._key, self._scratch = store, uri, kind, key, scratch

    def fetch(self, folder: Path) -> bool:
        """Bring it to a folder, verified, whole or not at all; say whether it is published."""
        files = self._inventory()
        if files is None:
            return False
        objects, what = self._store.contents(self._uri), f"fetching {self._kind} {self._key[:12]}"
        with publish_folder(folder) as partial:
            bring(self._store, files, objects, partial, scratch=self._scratch, what=what)
        return True

    def publish(self, folder: Path) -> bool:
        """Publish a finished folder, whole or not at all; say whether what is published now is that folder.

        What another process published first is never changed.
        """
        files, there = take_inventory(folder), self._inventory()
        if there is None:
            try:
                self._upload(folder, files)
            except StorageError:
                if self._inventory() is None:
                    raise
            there = self._inventory()  # another process may have published at the same moment
        return there == files

    def _inventory(self) -> Inventory | None:
        """Return what it holds, or None where it is not published."""
        stat = self._store.find(join(self._uri, ARTIFACT_FILE))
        return None if stat is None else read_inventory(self._store, stat, kind=self._kind, key=self._key)

    def _upload(self, folder: Path, files: Inventory) -> None:
        self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch) as name:
            staged = Path(name)
            for path, content in files.items():
                if not (staged / content.sha256).exists():
                    link_or_copy(folder / path, staged / content.sha256)
            write_json(staged / ARTIFACT_FILE, to_json(files, kind=self._kind, key=self._key))
            names = [path.name for path in staged.iterdir()]
            upload_files(staged, names, self._uri, last=ARTIFACT_FILE, store=self._store)
