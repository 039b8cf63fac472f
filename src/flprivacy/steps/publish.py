"""Publish a cohort or a target of this machine where others can pull it."""

from pathlib import Path

from flprivacy.cohorts.format import verify_cohort
from flprivacy.cohorts.manifest import MANIFEST_FILE
from flprivacy.cohorts.metadata import META_FILE
from flprivacy.core.errors import CohortError
from flprivacy.core.target import TARGET_FILE
from flprivacy.models.target_folder import read_target
from flprivacy.storage.files import upload_files


def push_cohort(*, folder: Path, uri: str) -> int:
    """Publish a cohort below a URI, whole or not at all, and return the bytes sent.

    Every volume is hashed first. An interrupted call carries on; a cohort that is there already is never changed.

    Raises:
        CohortError: the cohort is damaged, or was itself pulled in part.
        StorageError: another cohort is published there; or it may not be written.
    """
    cohort = verify_cohort(folder)
    if cohort.places is not None:
        raise CohortError(f"{folder}: holds only the volumes that were pulled; publish the whole cohort")
    names = [META_FILE, MANIFEST_FILE, *map(str, cohort.manifest["shard"].unique())]
    return upload_files(folder, names, uri, last=META_FILE)


def push_target(*, folder: Path, uri: str) -> int:
    """Publish a target below a URI, whole or not at all, and return the bytes sent.

    Raises:
        TargetError: the folder is no valid target.
        StorageError: another target is published there; or it may not be written.
    """
    record = read_target(folder)
    names = [TARGET_FILE, *(model.weights for model in record.models), *([record.members] if record.members else [])]
    return upload_files(folder, names, uri, last=TARGET_FILE)
