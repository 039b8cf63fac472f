"""Checkpoints of one artifact behind a network: whole snapshots of its folder of work.

Layout below the artifact's URI: ``blobs/<sha256>`` holds content, ``checkpoints/<number>-<writer>.json`` a snapshot's
inventory, stored after all of its content and never changed. Several processes may work on one artifact at a time,
each with a name of its own: every snapshot is whole, and none of them removes another's.
"""

import logging
import re
import shutil
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from flprivacy.core.errors import StorageError
from flprivacy.core.publish import write_json
from flprivacy.storage.backends.contract import ChangedObjectError, MissingObjectError, ObjectStat
from flprivacy.storage.inventory import (
    Content,
    DamagedContentError,
    Inventory,
    bring,
    lacking,
    read_inventory,
    to_json,
)
from flprivacy.storage.objects import ObjectStore
from flprivacy.storage.uris import join

LOGGER = logging.getLogger(__name__)

_BLOBS = "blobs/"
_NUMBERED = re.compile(r"checkpoints/(\d{8})-[0-9a-f]+\.json")
_LOOKS = 4  # at what is there, while the process that wrote it may go on


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A folder of work as it once was."""

    name: str  # of its inventory
    number: int  # counts the snapshots of the work, over all processes that carried it on
    files: dict[str, Content]  # what it held


@dataclass(frozen=True, kw_only=True)
class RemoteCheckpoints:
    """The remote checkpoints of one artifact."""

    store: ObjectStore
    uri: str  # below which they are
    kind: str  # of the artifact, like its key
    key: str

    def restore(self, folder: Path, *, newer_than: int, scratch: Path) -> Snapshot | None:
        """Replace a folder by the newest whole snapshot, verified, and return it; None if there is none to use.

        Args:
            folder: of work; left alone where None is returned.
            newer_than: only snapshots with a higher number are used.
            scratch: folder on the same disk, for what is on its way.
        """
        damaged: set[str] = set()
        for _ in range(_LOOKS):
            found = self.store.contents(self.uri)
            blobs = {name.removeprefix(_BLOBS): stat for name, stat in found.items() if name.startswith(_BLOBS)}
            chosen = None
            try:
                chosen = self._newest(found, blobs, newer_than, damaged)
                if chosen is not None:
                    self._bring(chosen, blobs, folder, scratch)
                return chosen
            except (MissingObjectError, ChangedObjectError) as error:  # its writer is alive and went on
                LOGGER.info("checkpoints of %s %s: %s; looking again", self.kind, self.key[:12], error)
            except DamagedContentError as error:
                LOGGER.warning("%s; trying the checkpoint before it", error)
                damaged.add(chosen.name if chosen else "")
        LOGGER.warning("checkpoints of %s %s: none could be restored; beginning anew", self.kind, self.key[:12])
        return None

    def _newest(
        self, found: dict[str, ObjectStat], blobs: dict[str, ObjectStat], newer_than: int, damaged: Container[str]
    ) -> Snapshot | None:
        numbers = {name: int(match[1]) for name in found if (match := _NUMBERED.fullmatch(name))}
        for name in sorted(numbers, reverse=True):
            if numbers[name] <= newer_than or name in damaged:
                continue
            try:
                files = read_inventory(self.store, found[name], kind=self.kind, key=self.key)
            except DamagedContentError as error:
                LOGGER.warning("%s", error)
                continue
            if not lacking(files, blobs):
                return Snapshot(name=name, number=numbers[name], files=files)
        return None

    def _bring(self, chosen: Snapshot, blobs: dict[str, ObjectStat], folder: Path, scratch: Path) -> None:
        fresh = scratch / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        bring(self.store, chosen.files, blobs, fresh, scratch=scratch / "content", what="restoring a checkpoint")
        for path in fresh.rglob("*"):
            if path.is_file():
                path.chmod(0o600)  # a private training's secret may be among them
        shutil.rmtree(folder, ignore_errors=True)
        fresh.replace(folder)

    def contents(self) -> list[str]:
        """Return the digests of all content that is there."""
        return list(self.store.contents(join(self.uri, _BLOBS.rstrip("/"))))

    def keep(self, path: Path, content: Content) -> None:
        """Store a file's content."""
        self.store.upload(path, join(self.uri, f"{_BLOBS}{content.sha256}"))

    def commit(self, files: Inventory, *, number: int, writer: str, scratch: Path) -> None:
        """Store a snapshot's inventory, after its content."""
        path = scratch / "inventory.json"
        write_json(path, to_json(files, kind=self.kind, key=self.key))
        self.store.upload(path, self._inventory_uri(number, writer))

    def forget(self, *, number: int, writer: str) -> None:
        """Remove a snapshot's inventory."""
        self.store.delete(self._inventory_uri(number, writer))

    def drop(self, sha256: str) -> None:
        """Remove content."""
        self.store.delete(join(self.uri, f"{_BLOBS}{sha256}"))

    def remove(self) -> None:
        """Remove everything: inventories first. What cannot be removed is left to the bucket's lifecycle rule."""
        try:
            found = self.store.contents(self.uri)
            for content in (False, True):
                uris = [stat.uri for name, stat in found.items() if name.startswith(_BLOBS) == content]
                self.store.in_parallel(self.store.delete, uris)
        except StorageError as error:
            LOGGER.warning("checkpoints of %s %s are left behind: %s", self.kind, self.key[:12], error)

    def _inventory_uri(self, number: int, writer: str) -> str:
        return join(self.uri, f"checkpoints/{number:08d}-{writer}.json")
