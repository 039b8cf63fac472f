"""One finished artifact behind a network: content by digest, and an inventory stored last."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from flprivacy.core.errors import StorageError
from flprivacy.core.publish import publish_folder, write_json
from flprivacy.storage.files import upload_files
from flprivacy.storage.inventory import Inventory, bring, read_inventory, take_inventory, to_json
from flprivacy.storage.links import link_or_copy
from flprivacy.storage.object_store import ObjectStore
from flprivacy.storage.objects import MissingObjectError
from flprivacy.storage.uris import join, relative_name

ARTIFACT_FILE = "artifact.json"


@dataclass(frozen=True, kw_only=True)
class RemoteArtifact:
    """A finished artifact's place behind a network.

    Attributes:
        store: where it is.
        uri: of its folder.
        kind: of the artifact.
        key: of the artifact.
    """

    store: ObjectStore
    uri: str
    kind: str
    key: str

    def inventory(self) -> Inventory | None:
        """Return what it holds, or None where it is not published.

        Raises:
            StorageError: that cannot be told, or what is there is damaged.
        """
        try:
            stat = self.store.stat(join(self.uri, ARTIFACT_FILE))
        except MissingObjectError:
            return None
        return read_inventory(self.store, stat, kind=self.kind, key=self.key)

    def fetch(self, folder: Path, *, scratch: Path) -> bool:
        """Bring it to a folder, verified; a folder already there is replaced. Say whether it is published at all.

        Args:
            folder: to write; whole or as it was.
            scratch: folder on the same disk that keeps what an interrupted call fetched.

        Raises:
            StorageError: it cannot be read, or what is there is damaged.
        """
        files = self.inventory()
        if files is None:
            return False
        objects = {relative_name(stat.uri, self.uri): stat for stat in self.store.list(self.uri)}
        with publish_folder(folder) as partial:
            bring(self.store, files, objects, partial, scratch=scratch, what=f"fetching {self.kind} {self.key[:12]}")
        return True

    def publish(self, folder: Path, *, scratch: Path) -> bool:
        """Publish a finished folder, whole or not at all; say whether what is published now is that folder.

        What another process published first is never changed.

        Args:
            folder: finished.
            scratch: folder, best on the same disk, for what is on its way.

        Raises:
            StorageError: it may not be written, or the server stays away.
        """
        files, there = take_inventory(folder), self.inventory()
        if there is None:
            try:
                self._upload(folder, files, scratch)
            except StorageError:
                if self.inventory() is None:
                    raise
            there = self.inventory()  # another process may have published at the same moment
        return there == files

    def _upload(self, folder: Path, files: Inventory, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch) as name:
            staged = Path(name)
            for path, content in files.items():
                if not (staged / content.sha256).exists():
                    link_or_copy(folder / path, staged / content.sha256)
            write_json(staged / ARTIFACT_FILE, to_json(files, kind=self.kind, key=self.key))
            names = [path.name for path in staged.iterdir()]
            upload_files(staged, names, self.uri, last=ARTIFACT_FILE, store=self.store)
