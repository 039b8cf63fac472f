"""Records kept as one JSON file each, written whole or not at all."""

import json
from pathlib import Path
from typing import ClassVar, Self

from flprivacy.core.errors import AuditError, ConfigError, FlprivacyError
from flprivacy.core.parsing import from_mapping, to_mapping
from flprivacy.core.publish import write_json


class JsonRecord:
    """What the records of an audit share: how they are written and read.

    Subclasses are frozen dataclasses and name in ``_kind`` what they are, and in ``_step`` the step that writes them.
    """

    _kind: ClassVar[str]
    _step: ClassVar[str]
    _error: ClassVar[type[FlprivacyError]] = AuditError

    def write(self, path: Path) -> None:
        """Write the record atomically as JSON.

        Raises:
            StorageError: the folder cannot be created or is not writable.
        """
        write_json(path, to_mapping(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record written by :meth:`write`.

        Raises:
            AuditError: the file is missing or holds something else; ConfigError where it is a plan.
        """
        try:
            return from_mapping(cls, json.loads(path.read_text()), str(path))
        except (OSError, ValueError, ConfigError) as error:
            raise cls._error(f"{path}: not {cls._kind} ({error}); run the {cls._step} step again") from error
