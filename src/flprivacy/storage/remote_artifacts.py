"""Artifacts behind a network: results and checkpoints that outlive the machine that makes them.

Layout below the location's URI: ``<kind>/<key>/`` holds a finished artifact, its content by digest and
``artifact.json``, an inventory, stored last; ``work/<kind>-<key>/`` holds the checkpoints of one under way
(:mod:`~flprivacy.storage.checkpoints`). Keys are digests: no name of an object says anything about anyone.

An object store has no locks. Two machines may make one artifact at a time: what they store goes by its content, so
neither can damage the other's, and who finishes last takes what was published first.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flprivacy.core.digests import digest_bytes
from flprivacy.core.errors import StorageError
from flprivacy.core.events import emit
from flprivacy.core.publish import publish_folder, write_json
from flprivacy.storage.checkpoint_mirror import Mirror, mirrored_number, mirroring
from flprivacy.storage.checkpoints import RemoteCheckpoints
from flprivacy.storage.inventory import Inventory, bring, read_inventory, take_inventory, to_json
from flprivacy.storage.objects import open_objects
from flprivacy.storage.transfer import upload_files
from flprivacy.storage.uris import join

LOGGER = logging.getLogger(__name__)
ARTIFACT_FILE = "artifact.json"


class RemoteArtifact:
    """One artifact's way from this machine to a remote location and back, under its lock on this machine."""

    def __init__(self, place: str, kind: str, key: str, *, disk: Path) -> None:
        """Take an artifact's kind and key, the location's URI, and the store's folder on this machine."""
        self._place, self._kind, self._key = place, kind, key
        self._objects, self._uri = open_objects(place), join(place, f"{kind}/{key}")
        self._notes = disk / "mirrors" / f"{kind}-{key}"
        self._scratch = self._notes / "artifact"  # keeps what is on its way
        self._published = disk / "published" / digest_bytes(place.rstrip("/").encode())[:16] / f"{kind}-{key}"

    def fetch(self, entry: Path) -> bool:
        """Bring it here, verified, whole or not at all; say whether it is published."""
        files = self._inventory()
        if files is None:
            self._published.unlink(missing_ok=True)
            return False
        objects, what = self._objects.contents(self._uri), f"fetching {self._kind} {self._key[:12]}"
        with publish_folder(entry) as partial:
            bring(self._objects, files, objects, partial, scratch=self._scratch, what=what)
        self._finish()
        return True

    @contextmanager
    def mirroring(self, work: Path, interval_seconds: float) -> Iterator[None]:
        """Bring the newest checkpoint, where it is newer than what is here, and copy those that are announced."""
        here = mirrored_number(self._notes) if any(work.iterdir()) else -1
        remote = self._checkpoints()
        restored = remote.restore(work, newer_than=here, scratch=self._notes / "work")

        if restored is not None:
            text = f"{self._kind}: carrying on from checkpoint {restored.number} of {self._place}"
            LOGGER.info("%s", text)
            emit("note", text=text)
        mirror = Mirror(
            self._checkpoints(),  # a store of its own, which can be given up alone
            work,
            notes=self._notes,
            restored=restored,
            number=max(here, 0),
            interval_seconds=interval_seconds,
        )
        with mirroring(mirror):
            yield

    def publish(self, entry: Path) -> None:
        """Publish the finished folder, whole or not at all, unless that was done before.

        What another process published first is never changed: the folder then becomes that.
        """
        if self._published.exists():
            return
        files, there = take_inventory(entry), self._inventory()
        if there is None:
            try:
                self._upload(entry, files)
            except StorageError:
                if self._inventory() is None:
                    raise
            there = self._inventory()  # another process may have published at the same moment
        if there != files:
            LOGGER.warning("%s %s: was finished elsewhere first; that result is used", self._kind, self._key[:12])
            self.fetch(entry)
        else:
            self._finish()

    def _finish(self) -> None:
        """Remember that the artifact is published, and remove what it was made from."""
        self._published.parent.mkdir(parents=True, exist_ok=True)
        self._published.touch()
        self._checkpoints().remove()
        shutil.rmtree(self._notes, ignore_errors=True)

    def _checkpoints(self) -> RemoteCheckpoints:
        uri = join(self._place, f"work/{self._kind}-{self._key}")
        return RemoteCheckpoints(store=open_objects(self._place), uri=uri, kind=self._kind, key=self._key)

    def _inventory(self) -> Inventory | None:
        """Return what it holds, or None where it is not published."""
        stat = self._objects.find(join(self._uri, ARTIFACT_FILE))
        return None if stat is None else read_inventory(self._objects, stat, kind=self._kind, key=self._key)

    def _upload(self, folder: Path, files: Inventory) -> None:
        record = self._scratch / ARTIFACT_FILE
        write_json(record, to_json(files, kind=self._kind, key=self._key))
        contents = {content.sha256: folder / name for name, content in files.items()}
        upload_files(contents | {ARTIFACT_FILE: record}, self._uri, last=ARTIFACT_FILE, store=self._objects)
