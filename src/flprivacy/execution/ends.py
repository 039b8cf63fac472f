"""How a run ended: notes that its steps leave in the run's store for the step that tells people, whatever became of it.

Layout: ``<store>/ends/<id of the run>/<digest>.json``, a file for each note. A note is what the report says in a line,
or the line with which a step failed; neither names a patient.
"""

import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flprivacy.core.digests import digest_json
from flprivacy.core.errors import FlprivacyError, StorageError
from flprivacy.core.parsing import from_mapping, to_mapping
from flprivacy.core.publish import write_json
from flprivacy.core.retry import RetryConfig
from flprivacy.storage.backends.contract import MissingObjectError
from flprivacy.storage.config import StorageConfig
from flprivacy.storage.objects import open_objects
from flprivacy.storage.places import folder_in_store
from flprivacy.storage.transfer import fetch_files, upload_files
from flprivacy.storage.uris import join

LOGGER = logging.getLogger(__name__)
_FOLDER = "ends"
_NAME_LENGTH = 32
_BRIEF = RetryConfig(attempts=2)  # whatever failed may be the store itself, and the process may have been asked to go


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The line with which a step failed; it may have succeeded since, when it was tried again."""

    step: str
    target: str = ""  # that the step worked on, if it was on one
    reason: str

    def __str__(self) -> str:
        return f"{self.step}{f' of {self.target}' if self.target else ''}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Note:
    """What one step left.

    Attributes:
        at: when, in UTC, ISO 8601.
        result: the message that tells what the run found; empty in the note of a failure.
        failure: of the step; None in the note of a result.
    """

    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))
    result: dict[str, Any] = field(default_factory=dict)
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class End:
    """What the steps of a run left.

    Attributes:
        result: the last one; empty if there is none.
        failures: each once, the latest last. Where there is a result, only those that were left after it: whatever it
            needs had failed before, if at all, and succeeded when it was tried again.
    """

    result: dict[str, Any]
    failures: tuple[Failure, ...]


def leave_result(message: Mapping[str, Any], *, run: str, store: str) -> None:
    """Leave what a run found; without the run's id, for nobody.

    A store that cannot be written is a warning: the result stands.
    """
    _leave(Note(result=dict(message)), run, store, StorageConfig.from_environment())


def leave_failure(failure: Failure, *, run: str, store: str) -> None:
    """Leave why a step failed. A store that cannot be written is a warning: the step itself says why it failed."""
    _leave(Note(failure=failure), run, store, replace(StorageConfig.from_environment(), retry=_BRIEF))


def read_end(run: str, store: str) -> End:
    """Return what the steps of a run left, which is nothing if none came to it.

    Raises:
        StorageError: the store cannot be read, or a note is damaged.
    """
    uri = join(folder_in_store(_FOLDER, store), run)
    objects = open_objects(uri)
    with tempfile.TemporaryDirectory() as name:
        try:
            files = objects.contents(uri)
        except MissingObjectError:
            files = {}
        fetch_files(objects, files, Path(name), description="reading how the run went")
        notes = sorted((_read(Path(name) / file, f"{uri}/{file}") for file in files), key=lambda note: note.at)
    result: dict[str, Any] = {}
    failures: dict[str, Failure] = {}
    for note in notes:
        if note.failure is not None:
            failures.pop(str(note.failure), None)
            failures[str(note.failure)] = note.failure
        elif note.result:
            result, failures = note.result, {}
    return End(result=result, failures=tuple(failures.values()))


def _leave(note: Note, run: str, store: str, config: StorageConfig) -> None:
    if not run:
        return
    record = to_mapping(note)
    name = f"{digest_json(record)[:_NAME_LENGTH]}.json"
    try:
        with tempfile.TemporaryDirectory() as folder:
            write_json(Path(folder) / name, record)
            uri = join(folder_in_store(_FOLDER, store), run)
            upload_files({name: Path(folder) / name}, uri, last=name, store=open_objects(uri, config))
    except FlprivacyError as error:
        LOGGER.warning("how the run went is not noted for the webhook: %s", error)


def _read(file: Path, uri: str) -> Note:
    try:
        return from_mapping(Note, json.loads(file.read_text()), uri)
    except (OSError, ValueError, FlprivacyError) as error:
        raise StorageError(f"{uri}: is no note of a step ({error}); remove it") from error
