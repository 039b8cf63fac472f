"""Publish a target of this machine where others can pull it."""

from pathlib import Path

from flprivacy.core.target import TARGET_FILE
from flprivacy.storage.upload import upload_files
from flprivacy.targets.folder import read_target


def push_target(*, folder: Path, uri: str) -> int:
    """Publish a target below a URI, whole or not at all, and return the bytes sent.

    Raises:
        TargetError: the folder is no valid target.
        StorageError: another target is published there; or it may not be written.
    """
    record = read_target(folder)
    names = [TARGET_FILE, *(model.weights for model in record.models), *([record.members] if record.members else [])]
    return upload_files(folder, names, uri, last=TARGET_FILE)
