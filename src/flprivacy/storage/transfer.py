"""Whole objects to files, resumed from what is verified, and files to objects: all or none."""

import contextlib
import json
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flprivacy.core.errors import StorageError
from flprivacy.core.progress import progress
from flprivacy.core.publish import publish_file
from flprivacy.storage.backends.contract import ObjectStat
from flprivacy.storage.checksums import fits
from flprivacy.storage.fetch import Moved, fetch
from flprivacy.storage.objects import ObjectStore, file_state, open_objects
from flprivacy.storage.ranges import Block
from flprivacy.storage.uris import join

_JOURNAL = ".parts.jsonl"
_MOST_JOURNAL_BYTES = 64 << 20


class DamagedObjectError(StorageError):
    """An object's bytes are not those of its checksum, and reading them again did not mend it."""

    def __init__(self, uri: str) -> None:
        super().__init__(
            f"{uri}: its bytes are not those of its checksum, twice; the object is damaged: restore it from a copy and "
            "run again"
        )
        self.uri = uri


def fetch_files(store: ObjectStore, files: Mapping[str, ObjectStat], folder: Path, *, description: str) -> Moved:
    """Bring whole objects into a folder of work, as files of the given names.

    Parts that an interrupted call finished are hashed again and kept, provided that the object is still the same.
    Every file is compared with the checksum that its storage tells, if it tells one.

    Args:
        store: where the objects are.
        files: by name within the folder.
        folder: made if it is not there; nobody else may write to it meanwhile.
        description: of the progress.

    Raises:
        DamagedObjectError: a file stays unlike its checksum.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = _Files(store, files, folder, description)
    moved = first.bring()
    if first.damaged:
        again = _Files(store, {name: files[name] for name in first.damaged}, folder, description)
        moved = replace(moved, moved_bytes=moved.moved_bytes + again.bring().moved_bytes)
        for name in again.damaged:
            raise DamagedObjectError(files[name].uri)
    return moved


def download(uri: str, path: Path) -> None:
    """Bring one object to a file, which is whole or absent; one already there is replaced."""
    store = open_objects(uri)
    stat = store.stat(uri)
    with publish_file(path) as partial, tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as name:
        fetch_files(store, {path.name: stat}, Path(name), description=f"downloading {path.name}")
        (Path(name) / path.name).replace(partial)


class _Files:
    """Brings whole objects to files, and compares each with its checksum as soon as its last part is there."""

    def __init__(self, store: ObjectStore, files: Mapping[str, ObjectStat], folder: Path, description: str) -> None:
        self.damaged: list[str] = []
        self._store, self._files, self._folder, self._description = store, files, folder, description
        self._journal = _Journal(folder / _JOURNAL)
        self._names = {folder / name: name for name in files}
        self._lock = threading.Lock()
        self._left: Counter[Path] = Counter()

    def bring(self) -> Moved:
        """Fetch what is not there, and remove files that are unlike their checksums."""
        blocks = [block for name, stat in self._files.items() for block in self._parts(name, stat)]
        self._left = Counter(block.path for block in blocks)
        moved = fetch(self._store, blocks, description=self._description, finished=self._note)
        if self.damaged:
            self._journal.forget()  # it cannot tell which part it was
        for name in self.damaged:
            (self._folder / name).unlink()
        return moved

    def _parts(self, name: str, stat: ObjectStat) -> list[Block]:
        """Cut an object into parts; an empty one into none."""
        path, step, parts = self._folder / name, self._store.config.part_bytes, []
        if not stat.size:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
            if not fits(path, stat.checksum):
                self.damaged.append(name)
        for start in range(0, stat.size, step):
            part = Block(source=stat, start=start, size=min(step, stat.size - start), path=path, offset=start)
            parts.append(replace(part, checksum=self._journal.checksum(part)))
        return parts

    def _note(self, block: Block, checksum: str) -> None:
        if not block.checksum:
            self._journal.note(block, checksum)
        with self._lock:
            self._left[block.path] -= 1
            whole = not self._left[block.path]
        if whole and not fits(block.path, block.source.checksum):
            with self._lock:
                self.damaged.append(self._names[block.path])


class _Journal:
    """Which parts of which objects are in their files: a line each, with its checksum, appended when it is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._checksums: dict[str, str] = {}
        if path.is_file() and path.stat().st_size <= _MOST_JOURNAL_BYTES:
            for line in path.read_text(errors="replace").splitlines():
                with contextlib.suppress(ValueError):  # a line that a kill cut off
                    part, checksum = json.loads(line)
                    self._checksums[str(part)] = str(checksum)

    def checksum(self, block: Block) -> str:
        """Return the checksum of a part that an earlier call finished; empty if none did."""
        return self._checksums.get(_part(block), "")

    def note(self, block: Block, checksum: str) -> None:
        """Remember a finished part."""
        with self._lock, self._path.open("a") as stream:
            stream.write("\n" + json.dumps([_part(block), checksum]))  # begins a line: a kill may have cut the last

    def forget(self) -> None:
        """Forget everything."""
        self._checksums.clear()
        self._path.unlink(missing_ok=True)


def _part(block: Block) -> str:
    return f"{block.source.uri} {block.source.version} {block.start} {block.size}"


def upload_files(files: Mapping[str, Path], uri: str, *, last: str, store: ObjectStore | None = None) -> int:
    """Publish files below a URI: all or none, because the one that readers start from is stored last.

    Objects that an interrupted call stored already are not sent again. What is published already is never changed:
    if it is the same nothing is sent, else it is refused with a StorageError.

    Args:
        files: by the name that each gets below the URI, ``last`` among them.
        uri: where they go.
        last: name of the file without which readers see nothing, such as ``cohort.json``.
        store: None: as the environment says.

    Returns:
        Bytes sent.
    """
    store = store or open_objects(uri)
    ordered = [*sorted(files.keys() - {last}), last]
    found = store.in_parallel(lambda name: store.find(join(uri, name)), ordered)
    there = dict(zip(ordered, found, strict=True))
    same = store.in_parallel(lambda name: _is_same(there[name], files[name]), ordered)
    missing = [name for name, is_same in zip(ordered, same, strict=True) if not is_same]
    if there[last] is not None and missing:
        raise StorageError(f"{uri}: holds another {last} already, and nothing is replaced; give a new URI")
    return _upload(store, files, uri, missing)


def _upload(store: ObjectStore, files: Mapping[str, Path], uri: str, names: Sequence[str]) -> int:
    """Store files, the last one after all others."""
    sizes = {name: file_state(files[name])[0] for name in names}
    lock = threading.Lock()
    with progress("uploading (bytes)", sum(sizes.values())) as counter:

        def send(name: str) -> None:
            store.upload(files[name], join(uri, name))
            with lock:
                counter.advance(sizes[name])

        store.in_parallel(send, names[:-1])
        for name in names[-1:]:
            send(name)
    return sum(sizes.values())


def _is_same(stat: ObjectStat | None, path: Path) -> bool:
    """Say whether an object is known to hold a file's bytes."""
    return stat is not None and bool(stat.checksum) and stat.size == file_state(path)[0] and fits(path, stat.checksum)
