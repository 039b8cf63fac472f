"""What a network answered where its owner runs it, for an audit to compare; kept apart from the target itself."""

from pathlib import Path

from flprivacy.core.target_source import TargetSource, weights_suffix
from flprivacy.storage.download import download
from flprivacy.storage.uris import is_remote
from flprivacy.targets.beside import existing_file


def given_own_answers(source: TargetSource, folder: Path) -> Path | None:
    """Return the file of a network's own answers, fetched into ``folder`` if it is remote; None if there is none.

    Raises:
        TargetError: there is no such file.
        StorageError: it is missing or cannot be read.
    """
    if not source.own_answers:
        return None
    if not is_remote(source.own_answers):
        return existing_file(source.own_answers)
    path = folder / f"own-answers{weights_suffix(source.own_answers)}"
    download(source.own_answers, path)
    return path
