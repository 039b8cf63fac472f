"""Whole objects to files and back: resumed from what is verified, published only when everything is there."""

import contextlib
import json
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flprivacy.core.digests import digest_file
from flprivacy.core.errors import StorageError
from flprivacy.core.progress import progress
from flprivacy.core.publish import publish_file
from flprivacy.storage.blocks import Block
from flprivacy.storage.checksums import fits
from flprivacy.storage.object_store import ObjectStore, open_objects
from flprivacy.storage.objects import MissingObjectError, ObjectStat
from flprivacy.storage.transfer import Moved, fetch, in_parallel
from flprivacy.storage.uris import join

_JOURNAL = ".parts.jsonl"
_MOST_JOURNAL_BYTES = 64 << 20


def fetch_files(store: ObjectStore, files: Mapping[str, ObjectStat], folder: Path, *, description: str) -> Moved:
    """Bring whole objects into a folder of work, as files of the given names.

    Parts that an interrupted call finished are hashed again and kept, provided that the object is still the same.
    Every file is compared with the checksum that its storage tells, if it tells one.

    Args:
        store: where the objects are.
        files: name within the folder -> object.
        folder: made if it is not there; nobody else may write to it meanwhile.
        description: of the progress.

    Raises:
        StorageError: as :func:`~flprivacy.storage.transfer.fetch`; or a file stays unlike its checksum.
    """
    folder.mkdir(parents=True, exist_ok=True)
    journal = _Journal(folder / _JOURNAL)
    moved = _fetch_once(store, files, folder, journal, description)
    damaged = _unlike_their_checksums(store, files, folder)
    if damaged:
        journal.forget()  # it cannot tell which part it was
        again = _fetch_once(store, damaged, folder, journal, description)
        moved = replace(moved, moved_bytes=moved.moved_bytes + again.moved_bytes)
        for stat in _unlike_their_checksums(store, damaged, folder).values():
            raise StorageError(
                f"{stat.uri}: its bytes are not those of its checksum, twice; the object is damaged: restore it from "
                "a copy and run again"
            )
    return moved


def _fetch_once(
    store: ObjectStore, files: Mapping[str, ObjectStat], folder: Path, journal: "_Journal", description: str
) -> Moved:
    blocks = [block for name, stat in files.items() for block in _parts(store, stat, folder / name, journal)]
    for name, stat in files.items():
        if not stat.size:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"")
    return fetch(store, blocks, description=description, finished=journal.note)


def _unlike_their_checksums(store: ObjectStore, files: Mapping[str, ObjectStat], folder: Path) -> dict[str, ObjectStat]:
    """Remove the files that are not what their storage says, and return their names."""
    good = in_parallel(store, lambda item: fits(folder / item[0], item[1].checksum), files.items())
    unlike = {name: stat for (name, stat), fine in zip(files.items(), good, strict=True) if not fine}
    for name in unlike:
        (folder / name).unlink()
    return unlike


def download(uri: str, path: Path, *, store: ObjectStore | None = None, work: Path | None = None) -> ObjectStat:
    """Bring one object to a file, which is whole or absent.

    Args:
        uri: a path, or a URI of a supported kind.
        path: the file; one already there is replaced.
        store: None: as the environment says.
        work: folder that keeps what was fetched if the download is interrupted; None: nothing is kept.

    Raises:
        StorageError: it cannot be read, is damaged or changed, or the file cannot be written.
    """
    store = store or open_objects(uri)
    stat = store.stat(uri)
    with publish_file(path) as partial:
        folder = work or partial.with_name(f"{partial.name}.work")
        try:
            fetch_files(store, {path.name: stat}, folder, description=f"downloading {path.name}")
            shutil.move(folder / path.name, partial)  # by copying if the work is on another disk
        finally:
            if work is None:
                shutil.rmtree(folder, ignore_errors=True)
    return stat


def upload_folder(folder: Path, uri: str, *, last: str, store: ObjectStore | None = None) -> int:
    """Publish a folder below a URI: whole or absent, because the file that makes it one is stored last.

    Objects that an interrupted call stored already are not sent again. A folder that is there already is never
    changed: if it is the same nothing is sent, else it is refused.

    Args:
        folder: what to publish; every file in it, at any depth.
        uri: where its files go.
        last: name of the file without which readers see nothing, such as ``cohort.json``.
        store: None: as the environment says.

    Returns:
        Bytes sent.

    Raises:
        StorageError: another folder is published there; or it may not be written.
    """
    store = store or open_objects(uri)
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    if last not in names:
        raise StorageError(f"{folder}: holds no {last}; give a folder that does")
    names.remove(last)
    found = _found(store, [*names, last], uri)
    hashed = in_parallel(store, lambda name: digest_file(folder / name), [*names, last])
    digests = dict(zip([*names, last], hashed, strict=True))
    missing = [name for name in names if not _is_same(found.get(name), folder / name, digests[name])]
    if last in found:
        if missing or not _is_same(found[last], folder / last, digests[last]):
            raise StorageError(f"{uri}: holds another {last} already, and is not replaced; give a new URI")
        return 0
    return _upload(store, folder, uri, missing, last)


def _upload(store: ObjectStore, folder: Path, uri: str, names: Sequence[str], last: str) -> int:
    sizes = {name: (folder / name).stat().st_size for name in [*names, last]}
    lock = threading.Lock()
    with progress("uploading (bytes)", sum(sizes.values())) as counter:

        def send(name: str) -> None:
            store.upload(folder / name, join(uri, name))
            with lock:
                counter.advance(sizes[name])

        in_parallel(store, send, names)
        send(last)
    return sum(sizes.values())


def _found(store: ObjectStore, names: Sequence[str], uri: str) -> dict[str, ObjectStat]:
    """Return what is known of those names that are there."""

    def look(name: str) -> ObjectStat | None:
        try:
            return store.stat(join(uri, name))
        except MissingObjectError:
            return None

    found = zip(names, in_parallel(store, look, names), strict=True)
    return {name: stat for name, stat in found if stat is not None}


def _is_same(stat: ObjectStat | None, path: Path, sha256: str) -> bool:
    if stat is None or stat.size != path.stat().st_size:
        return False
    if stat.checksum.startswith("sha256:"):
        return stat.checksum == f"sha256:{sha256}"
    return bool(stat.checksum) and fits(path, stat.checksum)


class _Journal:
    """Which parts of which objects are in their files, and their digests: a line each, appended when verified."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._digests: dict[str, str] = {}
        if path.is_file() and path.stat().st_size <= _MOST_JOURNAL_BYTES:
            for line in path.read_text(errors="replace").splitlines():
                with contextlib.suppress(ValueError):  # a line that a kill cut off
                    part, sha256 = json.loads(line)
                    self._digests[str(part)] = str(sha256)

    def digest(self, block: Block) -> str:
        """Return the digest of a part that an earlier call finished; empty if none did."""
        return self._digests.get(_part(block), "")

    def note(self, block: Block, sha256: str) -> None:
        """Remember a finished part."""
        with self._lock, self._path.open("a") as stream:
            stream.write(json.dumps([_part(block), sha256]) + "\n")

    def forget(self) -> None:
        """Forget everything."""
        self._digests.clear()
        self._path.unlink(missing_ok=True)


def _part(block: Block) -> str:
    return f"{block.source.uri} {block.source.version} {block.start} {block.size}"


def _parts(store: ObjectStore, stat: ObjectStat, path: Path, journal: _Journal) -> list[Block]:
    """Cut an object into parts."""
    step = store.config.part_bytes
    blocks = []
    for start in range(0, stat.size, step):
        block = Block(source=stat, start=start, size=min(step, stat.size - start), path=path, offset=start)
        blocks.append(replace(block, sha256=journal.digest(block)))
    return blocks
