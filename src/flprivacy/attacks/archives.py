"""Named arrays in one file, whole or absent: the form of everything that attacks keep between runs."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flprivacy.core.checkpoint_events import announce
from flprivacy.core.errors import AttackError
from flprivacy.core.publish import publish_file

Arrays = dict[str, npt.NDArray[Any]]


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays atomically.

    Raises:
        StorageError: the folder cannot be created or is not writable.
    """
    save: Any = np.savez  # whose stub takes any name for allow_pickle
    with publish_file(path) as partial, partial.open("wb") as stream:
        save(stream, **arrays)
    announce(path)


def load_arrays(path: Path, only: str | None = None) -> Arrays:
    """Read the arrays of a file, or only one of them.

    Raises:
        AttackError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if only in (None, name)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise AttackError(f"{path}: damaged ({error}); delete this file and attack again") from error
