"""What a target answers for the scans that attacks are scored on: the signals of membership attacks without labels."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flprivacy.core.array_types import Float32Array, IntArray
from flprivacy.core.artifacts import ANSWERS_FILE
from flprivacy.core.errors import AttackError
from flprivacy.core.publish import publish_file


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """Answers of a target.

    Attributes:
        models: names of its models.
        rows: (scan,) rows of the cohort, ascending: held-out scans, and training scans that no attacker holds.
        probabilities: (model, scan, class); of no class where the target's file held no head.
    """

    models: tuple[str, ...]
    rows: IntArray
    probabilities: Float32Array

    def write(self, folder: Path) -> None:
        """Write them into a folder."""
        with publish_file(folder / ANSWERS_FILE) as partial, partial.open("wb") as stream:
            np.savez(stream, models=np.array(self.models), rows=self.rows, probabilities=self.probabilities)

    @classmethod
    def read(cls, folder: Path) -> "Answers":
        """Read what :meth:`write` wrote.

        Raises:
            AttackError: the file is missing or damaged.
        """
        path = folder / ANSWERS_FILE
        try:
            with np.load(path, allow_pickle=False) as archive:
                models = tuple(archive["models"].tolist())
                return cls(models=models, rows=archive["rows"], probabilities=archive["probabilities"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise AttackError(
                f"{path}: no answers of a target ({error}); run the step attack_attributes again"
            ) from error
