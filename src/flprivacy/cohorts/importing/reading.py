"""Volumes that were read, kept in a hidden folder until all of a cohort's are: what was read once is not read again."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from flprivacy.cohorts.importing.found import Candidate, LeftOut, Reading, ScanError, Volume
from flprivacy.cohorts.importing.thumbnails import MOST_LOOKS, Look, look_of
from flprivacy.cohorts.workers import in_order
from flprivacy.core.errors import StorageError
from flprivacy.core.progress import progress, track
from flprivacy.core.publish import publish_file

_WORTH_SCANS = 32  # fewer are read before other processes have started


def read_all(
    candidates: Sequence[Candidate], work: Path, workers: int
) -> tuple[list[Candidate], list[LeftOut], dict[str, Look]]:
    """Read every volume that is not in ``work`` yet.

    Returns:
        The scans that are there, with what was noticed in their values among their notes; those that cannot be taken;
        and what these look like, as far as that is known.
    """
    failed: dict[str, LeftOut] = {}
    looks: dict[str, Look] = {}
    here = {path.name for path in work.iterdir()} if work.is_dir() else set()
    missing = [candidate for candidate in candidates if candidate.work not in here]
    workers = 1 if len(missing) < _WORTH_SCANS else workers
    refusals = in_order(partial(_read_one, work=work), missing, workers=workers, chunk=1, what="reading scans")
    with progress("reading scans", len(candidates)) as counter:
        counter.resume(len(candidates) - len(missing))
        for candidate, (refusal, look) in zip(missing, refusals, strict=True):
            if refusal is not None:
                failed[candidate.work] = refusal
            if look is not None and len(looks) < MOST_LOOKS:
                looks[candidate.scan_id] = look
            counter.advance()
    taken = [_with_notes(candidate, work) for candidate in candidates if candidate.work not in failed]
    return taken, list(failed.values()), looks


def kept_volumes(
    candidates: Sequence[Candidate], work: Path, shape: tuple[int, int, int]
) -> Iterator[tuple[int, Volume]]:
    """Yield the number and the volume (depth, height, width) of each scan.

    Raises:
        StorageError: a volume is damaged.
    """
    for number, candidate in enumerate(track(candidates, "writing the cohort", len(candidates))):
        data = np.fromfile(work / candidate.work, dtype=np.uint8)
        if data.size != int(np.prod(shape)):
            raise StorageError(f"{work}: a volume kept there is damaged; remove the folder and import again")
        yield number, data.reshape(shape)


def _read_one(candidate: Candidate, *, work: Path) -> tuple[LeftOut | None, Look | None]:
    """Read a volume into ``work``; return why it cannot be taken, and what it looks like."""
    try:
        keep(candidate.read(), work / candidate.work)
    except ScanError as error:
        return error.left_out(candidate.scan_id), None if error.volume is None else look_of(error.volume)
    return None, None


def keep(reading: Reading, path: Path) -> None:
    """Keep a volume at ``path``, and before it its notes: where the volume is, they are.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        if reading.notes:
            with publish_file(_beside(path)) as partial:
                partial.write_text(json.dumps(reading.notes))
        with publish_file(path) as partial:
            partial.write_bytes(np.ascontiguousarray(reading.volume).data)
    except OSError as error:
        raise StorageError(f"{path.parent}: cannot be written ({error.strerror}); free space") from error


def _with_notes(candidate: Candidate, work: Path) -> Candidate:
    notes = _beside(work / candidate.work)
    if not notes.is_file():
        return candidate
    return replace(candidate, notes=(*candidate.notes, *json.loads(notes.read_text())))


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.notes")
