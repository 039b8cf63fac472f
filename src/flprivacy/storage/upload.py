"""Files to objects: published all or none, and never changed afterwards."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from flprivacy.core.errors import StorageError
from flprivacy.core.progress import progress
from flprivacy.storage.backends.contract import ObjectStat
from flprivacy.storage.checksums import fits
from flprivacy.storage.objects import ObjectStore, file_state, open_objects
from flprivacy.storage.uris import join


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
