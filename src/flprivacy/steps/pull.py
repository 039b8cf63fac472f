"""Steps ``pull_cohort`` and ``pull_target``: bring given inputs to where the other steps read them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flprivacy.cohorts.remote import SPLITS, Rows, SourceCohort, bring_rows, look_at_cohort, needed_rows
from flprivacy.cohorts.selection import selection_digest
from flprivacy.core.cohort import TRAIN
from flprivacy.core.errors import ConfigError
from flprivacy.core.events import emit
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import write_json
from flprivacy.core.target import TARGET_FILE, TargetRecord
from flprivacy.core.target_source import parse_source
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.fetch import Moved
from flprivacy.storage.objects import ChangedObjectError
from flprivacy.storage.places import open_store
from flprivacy.storage.uris import is_remote, local_path
from flprivacy.targets.folder import read_target
from flprivacy.targets.given import given_record, given_target
from flprivacy.targets.listing import resolve_targets

LOGGER = logging.getLogger(__name__)


def pull_cohort(
    *,
    cohort: str,
    out: Path,
    fractions: Sequence[float] = (),
    seeds: Sequence[int] = (),
    splits: Sequence[str] = SPLITS,
    resolved: str = "",
    store: str = "",
) -> str:
    """Put the cohort at ``out``, with the volumes that an audit reads, and return the cohort's digest.

    A cohort that is on the disk of ``out`` already is linked, whole. From anywhere else only the exposed scans of all
    seeds and the held-out scans are fetched, by ranged reads; what is at ``out`` is then a cohort with the whole
    manifest and digest, and ``present.parquet`` says which volumes it holds.

    Args:
        cohort: path or URI of its folder.
        out: folder to write.
        fractions: exposed fractions of the audit; empty: all training scans.
        seeds: its attacker seeds; empty: all training scans.
        splits: ``train``, ``test`` or both.
        resolved: what step ``resolve_cohort`` returned; empty: whatever is there now.
        store: the store's location, which keeps what was fetched.

    Raises:
        CohortError: the cohort breaks the format's rules.
        ChangedObjectError: it is no longer the one that was resolved, or changed while it was read.
        StorageError: an object cannot be read or stays damaged.
    """
    source = look_at_cohort(cohort)
    meta = source.place.meta
    if resolved not in ("", source.place.version):
        raise ChangedObjectError(f"{cohort}: changed since it was resolved; run again once it is finished")
    if not is_remote(cohort) and _on_one_disk(local_path(cohort), out):
        deliver(local_path(cohort), out)
        return meta.digest
    rows = needed_rows(source, fractions=fractions, seeds=seeds, splits=splits)
    inputs = {"pulled": meta.digest, "rows": selection_digest(meta.digest, rows)}

    def make(work: Path, folder: Path) -> None:
        _tell(source, rows, bring_rows(source, rows, work=work, folder=folder))

    deliver(open_store(store).build("cohort", inputs, make), out)
    return meta.digest


def _on_one_disk(source: Path, out: Path) -> bool:
    """Say whether files of ``source`` can be linked at ``out``."""
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    return source.stat().st_dev == folder.stat().st_dev


def _tell(source: SourceCohort, rows: Rows, moved: Moved) -> None:
    """Say how many volumes and bytes were fetched, of how many."""
    volume = moved.wanted_bytes // len(rows)
    train = source.manifest["split"] == TRAIN
    exposed, pool = int(train.iloc[rows].sum()), int(train.sum())
    share = f"{exposed} of {pool} training scans ({exposed / pool:.1%})" if pool else "no training scan"
    text = (
        f"pulled {len(rows)} of {len(source.manifest)} volumes, {share}: {moved.moved_bytes} bytes moved for "
        f"{moved.wanted_bytes}, {moved.found_bytes} were here, of {volume * len(source.manifest)} in the cohort; "
        f"{moved.requests} ranged reads"
    )
    LOGGER.info("%s", text)
    emit("note", text=text)


def pull_target(*, targets: Mapping[str, str], target_name: str, out: Path, store: str = "") -> TargetRecord:
    """Put the target of that name at ``out``, under that name, and return its record.

    Args:
        targets: name -> target folder, weights file or MLflow URI, with what is known of it
            (:func:`~flprivacy.core.target_source.parse_source`); or a reference to as much
            (:func:`~flprivacy.targets.listing.resolve_targets`).
        target_name: which of them.
        out: folder to write.
        store: the store's location, which keeps what was fetched.

    Raises:
        ConfigError: ``targets`` has no such name.
        TargetError: it is no valid target, or the file cannot be used.
        StorageError: an object cannot be read or stays damaged.
        TrackingError: MLflow cannot be reached or has no such model.
    """
    targets = resolve_targets(targets)
    if target_name not in targets:
        raise ConfigError(f"target {target_name!r} is not among the given ones: {', '.join(sorted(targets))}")
    folder = given_target(parse_source(targets[target_name]), store)
    record = replace(read_target(folder), name=target_name)
    deliver(folder, out)
    write_json(out / TARGET_FILE, to_mapping(record))
    return record


def target_record(word: str, store: str = "") -> TargetRecord:
    """Return the record of a target given as for :func:`pull_target`.

    Of a target folder the weights are not fetched; a weights file is imported, because only it knows what it is.

    Raises:
        TargetError: it is no valid target.
        StorageError: it is missing or cannot be read.
    """
    return given_record(parse_source(word), store)
