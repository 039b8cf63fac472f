"""The spool: complete results that could not be filed in MLflow at once, kept in the store until they are.

Layout: ``<store>/spool/<key>/`` holds ``audit/``, ``report/`` and, written last, ``filing.json``: without it there is
no entry. An entry is removed once MLflow has it; one that is left over does no harm, because MLflow's own digests
decide what was filed. StorageError where the store cannot be read or written.
"""

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flprivacy.core.artifacts import AUDIT_FILE, AUDITORS_ONLY, CHECK_FILE, GENERATOR_AUDIT_FILE
from flprivacy.core.digests import digest_file, digest_json
from flprivacy.core.errors import ConfigError, StorageError
from flprivacy.core.parsing import from_mapping, to_mapping
from flprivacy.core.publish import write_json
from flprivacy.storage.backends.contract import ChangedObjectError, MissingObjectError
from flprivacy.storage.objects import open_objects
from flprivacy.storage.places import folder_in_store
from flprivacy.storage.transfer import fetch_files, upload_files
from flprivacy.storage.uris import is_remote, join, local_path
from flprivacy.tracking.filing import Filing

LOGGER = logging.getLogger(__name__)
_FOLDER, _FILING = "spool", "filing.json"
_KEY_LENGTH = 32


class DamagedEntryError(StorageError):
    """An entry of the spool is not what was put there."""


@dataclass(frozen=True, kw_only=True)
class Spooled:
    """One entry, brought to this machine."""

    audit: Path  # folder of ``audit.json`` or ``dp_check.json``
    report: Path  # folder of the report
    filing: Filing  # for which pipeline run


def spool_uri(store: str = "") -> str:
    """Return where the spool of a store is: of the given one, ``$FLPRIVACY_STORE``'s, or that of the home folder."""
    return folder_in_store(_FOLDER, store)


def result_digest(folder: Path) -> str:
    """Return the SHA-256 of an audit's file, or of a check's or a generator's; the key under which it is filed."""
    files = [folder / name for name in (AUDIT_FILE, CHECK_FILE, GENERATOR_AUDIT_FILE)]
    return digest_file(next((file for file in files if file.exists()), files[0]))


def put(*, audit: Path, report: Path, filing: Filing, store: str = "") -> str:
    """Keep a result until it is filed, and return its entry's name. The same result is kept once."""
    key = digest_json([result_digest(audit), to_mapping(filing)])[:_KEY_LENGTH]
    if key in waiting(store):
        return key
    files = {
        f"{part}/{file.relative_to(folder).as_posix()}": file
        for part, folder in (("audit", audit), ("report", report))
        for file in folder.rglob("*")
        if file.is_file() and file.name not in AUDITORS_ONLY
    }
    with tempfile.TemporaryDirectory() as name:
        record = Path(name) / _FILING
        write_json(record, to_mapping(filing))
        upload_files(files | {_FILING: record}, join(spool_uri(store), key), last=_FILING)
    return key


def waiting(store: str = "") -> list[str]:
    """Return the names of all entries, in order."""
    uri = spool_uri(store)
    try:
        names = list(open_objects(uri).contents(uri))
    except MissingObjectError:
        return []
    return sorted(name.split("/")[0] for name in names if name.endswith(f"/{_FILING}"))


@contextmanager
def taken(key: str, store: str = "") -> Iterator[Spooled | None]:
    """Bring an entry to this machine for the length of the block; None if another process has removed it meanwhile.

    DamagedEntryError if it is not what was put there.
    """
    uri = join(spool_uri(store), key)
    objects = open_objects(uri)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            files = objects.contents(uri)
            fetch_files(objects, files, folder, description="reading the spool")
        except (MissingObjectError, ChangedObjectError):
            files = {}
        yield _read(folder, uri) if _FILING in files else None


def _read(folder: Path, uri: str) -> Spooled:
    try:
        filing = from_mapping(Filing, json.loads((folder / _FILING).read_text()), f"{uri}/{_FILING}")
    except (OSError, ValueError, ConfigError) as error:
        raise DamagedEntryError(f"{uri}: not an entry of the spool ({error}); remove it") from error
    return Spooled(audit=folder / "audit", report=folder / "report", filing=filing)


def remove(key: str, store: str = "") -> None:
    """Remove an entry that was filed, its record first."""
    uri = join(spool_uri(store), key)
    objects = open_objects(uri)
    objects.delete(join(uri, _FILING))
    for stat in objects.contents(uri).values():
        objects.delete(stat.uri)
    if not is_remote(uri):
        shutil.rmtree(local_path(uri), ignore_errors=True)
