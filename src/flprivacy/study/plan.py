"""The plan of one run: the resolved configuration that all of its steps read."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import from_mapping, to_mapping
from flprivacy.core.publish import write_json
from flprivacy.study.config import StudyConfig


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do.

    Attributes:
        pipeline: ``study`` or ``privacy_audit``.
        command: the command line that repeats the run.
        study: the whole configuration, defaults filled in.
        sources: name -> folder or URI of each given target (``privacy_audit`` only).
    """

    pipeline: str
    command: str
    study: StudyConfig
    sources: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the plan atomically as JSON."""
        write_json(path, to_mapping(self))

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Read a plan written by :meth:`write`.

        Raises:
            ConfigError: the file is missing or is no plan.
        """
        try:
            mapping = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: not a plan ({error}); run the plan step again") from error
        return from_mapping(cls, mapping, str(path))
