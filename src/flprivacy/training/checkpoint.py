"""Checkpoints: what a killed run carries on from, to the same bits."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flprivacy.core.checkpoint_events import announce
from flprivacy.core.errors import TrainingError
from flprivacy.core.publish import publish_file

History = list[dict[str, float]]

_HEADER = "header"


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """The state of one model's training after ``done`` epochs or rounds.

    Attributes:
        arrays: everything that the rest of the training depends on; the weights alone once it is finished.
        steps: client number -> its optimisation steps so far, which privacy is accounted from.
    """

    done: int
    arrays: list[npt.NDArray[Any]]
    history: History
    steps: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one run, one file a model, each replaced atomically.

    ``key`` digests all that the result depends on: part of the path and of every file, so that runs never mix.
    """

    folder: Path
    key: str

    def path(self, model: str) -> Path:
        """Return the file of a model's checkpoint."""
        return self.folder / self.key[:16] / f"{model}.npz"

    def save(self, model: str, checkpoint: Checkpoint) -> None:
        """Replace the model's checkpoint.

        Raises:
            TrainingError: a weight is not finite, so that going on would only publish a broken model.
            StorageError: the folder is not writable.
        """
        _check_finite(model, checkpoint)
        header = {
            "key": self.key,
            "done": checkpoint.done,
            "history": checkpoint.history,
            "steps": {str(client): count for client, count in checkpoint.steps.items()},
        }
        arrays = {f"{i:05d}": array for i, array in enumerate(checkpoint.arrays)}
        with publish_file(self.path(model)) as partial, partial.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **{_HEADER: np.array(json.dumps(header))}, **arrays)
        announce(self.path(model))

    def load(self, model: str) -> Checkpoint | None:
        """Return the model's last checkpoint, or None where there is none.

        Raises:
            TrainingError: the file is damaged or of another run.
        """
        path = self.path(model)
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as stored:
                header = json.loads(str(stored[_HEADER]))
                arrays = [stored[name] for name in sorted(set(stored.files) - {_HEADER})]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise TrainingError(f"{path}: damaged checkpoint ({error}); delete it and train again") from error
        if header["key"] != self.key:
            raise TrainingError(f"{path}: checkpoint of another run; delete it and train again")
        steps = {int(client): count for client, count in header["steps"].items()}
        return Checkpoint(done=header["done"], arrays=arrays, history=header["history"], steps=steps)


def _check_finite(model: str, checkpoint: Checkpoint) -> None:
    floats: Sequence[npt.NDArray[Any]] = [a for a in checkpoint.arrays if np.issubdtype(a.dtype, np.floating)]
    if not all(np.isfinite(a).all() for a in floats):
        raise TrainingError(
            f"{model}: weights are no longer finite after {checkpoint.done} epochs or rounds; "
            "lower learning_rate or raise batch_size"
        )
