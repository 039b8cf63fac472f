"""A cohort that is handed on by its place: where it is and which it is, without anything of a patient.

``cohort.json`` and ``place.json`` lie in the folder that a step is given. Manifest and volumes stay where the cohort is
published; each step reads there what it needs, verified, into a cache on its machine. Steps that share the cache read a
volume once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flprivacy.cohorts.format import open_cohort
from flprivacy.cohorts.metadata import write_meta
from flprivacy.cohorts.remote import CohortPlace, Rows, SourceCohort, find_cohort, look_at_cohort, mirror_rows
from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.errors import CohortError
from flprivacy.core.events import emit
from flprivacy.core.parsing import JsonRecord
from flprivacy.core.publish import publish_folder
from flprivacy.storage.artifact_store import Store
from flprivacy.storage.backends.contract import ChangedObjectError
from flprivacy.storage.fetch import Moved
from flprivacy.storage.places import cache
from flprivacy.storage.uris import is_remote, local_path

PLACE_FILE = "place.json"


@dataclass(frozen=True, kw_only=True)
class Place(JsonRecord):
    """Contents of ``place.json``."""

    _kind, _step, _error = "a cohort's place", "plan_audit", CohortError

    uri: str  # folder or URI of the cohort
    version: str  # what CohortPlace.version said when it was looked at
    scans: int  # in the whole cohort


def write_place(folder: Path, source: SourceCohort) -> None:
    """Write a folder that names a cohort; StorageError if it cannot be written."""
    place = source.place
    uri = place.uri if is_remote(place.uri) else str(local_path(place.uri))
    with publish_folder(folder) as partial:
        write_meta(partial, place.meta)
        Place(uri=uri, version=place.version, scans=len(source.manifest)).write(partial / PLACE_FILE)


def open_manifest(folder: Path) -> Cohort:
    """Open a cohort of which no volume is needed, wherever it is.

    Raises:
        CohortError: it breaks the format's rules.
        ChangedObjectError: it is no longer the one that was handed on.
        StorageError: it cannot be read.
    """
    return _open(folder, lambda cohort: np.empty(0, np.int64))


def open_rows(folder: Path, choose: Callable[[Cohort], Rows]) -> Cohort:
    """Open a cohort with the volumes of some rows, wherever it is: at least these can then be read.

    Args:
        folder: the cohort, or a folder that names it.
        choose: called with the cohort without volumes; returns (n,) ascending row numbers.

    Raises:
        CohortError, StorageError: as for :func:`open_manifest`; or a volume is missing or stays unlike its hash.
    """
    return _open(folder, choose)


def _open(folder: Path, choose: Callable[[Cohort], Rows]) -> Cohort:
    if not (folder / PLACE_FILE).is_file():
        return open_cohort(folder)
    named = Place.read(folder / PLACE_FILE)
    if not is_remote(named.uri):
        _check_unchanged(find_cohort(named.uri), named)
        return open_cohort(Path(named.uri))
    source = look_at_cohort(named.uri)
    _check_unchanged(source.place, named)
    rows = choose(source.opened())
    mirror = cache() / "cohorts" / named.version
    if len(rows):
        with Store(cache()).locked(f"cohort-{named.version}"):
            emit("note", text=pulled(source, rows, mirror_rows(source, rows, mirror)))
    return source.opened(mirror, rows)


def _check_unchanged(place: CohortPlace, named: Place) -> None:
    if place.version != named.version:
        raise ChangedObjectError(f"{place.uri}: changed since it was resolved; run again once it is finished")


def pulled(source: SourceCohort, rows: Rows, moved: Moved) -> str:
    """Say how many volumes and bytes were fetched, of how many."""
    volume = moved.wanted_bytes // len(rows)
    train = source.manifest["split"] == TRAIN
    exposed, pool = int(train.iloc[rows].sum()), int(train.sum())
    share = f"{exposed} of {pool} training scans ({exposed / pool:.1%})" if pool else "no training scan"
    return (
        f"pulled {len(rows)} of {len(source.manifest)} volumes, {share}: {moved.moved_bytes} bytes moved for "
        f"{moved.wanted_bytes}, {moved.found_bytes} were here, of {volume * len(source.manifest)} in the cohort; "
        f"{moved.requests} ranged reads"
    )
