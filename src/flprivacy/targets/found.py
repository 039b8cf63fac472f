"""Which target folders are below a place, whatever their versions."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from flprivacy.core.errors import naming
from flprivacy.core.target import TARGET_FILE, TargetRecord
from flprivacy.storage.objects import open_objects
from flprivacy.storage.uris import is_remote, join, local_path
from flprivacy.targets.folder import read_record

_MOST_BYTES = 1 << 20  # of a target.json


@dataclass(frozen=True, kw_only=True)
class FoundTarget:
    """A target folder that was found."""

    location: str  # path or URI of the folder
    record: TargetRecord


def find_target_folders(place: str) -> list[FoundTarget]:
    """Return every target folder below a path or URI, by name and location; only ``target.json`` is read of each.

    Raises:
        TargetError: a ``target.json`` is damaged; the message names it.
        StorageError: the place cannot be listed, or a file not be read.
    """
    root = place.rstrip("/") if is_remote(place) else str(local_path(place))
    objects = open_objects(root)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for path, stat in objects.contents(root).items():
            *folders, file = path.split("/")
            if file == TARGET_FILE:
                copy = Path(folder) / TARGET_FILE
                copy.write_bytes(objects.read_whole(stat, most=_MOST_BYTES))
                location = join(root, "/".join(folders)) if folders else root
                with naming(location, Path(folder)):
                    found.append(FoundTarget(location=location, record=read_record(copy)))
    return sorted(found, key=lambda one: (one.record.name, one.location))
