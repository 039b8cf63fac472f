"""Step ``pull_cohort``: bring the volumes that an audit reads to where the other steps read them."""

import logging
from pathlib import Path

from flprivacy.cohorts.remote import Rows, SourceCohort, audited_rows, bring_rows, look_at_cohort
from flprivacy.cohorts.selection import selection_digest
from flprivacy.core.cohort import TRAIN
from flprivacy.core.events import emit
from flprivacy.execution.container import StepResult
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.backends.contract import ChangedObjectError
from flprivacy.storage.fetch import Moved
from flprivacy.storage.places import open_store
from flprivacy.storage.uris import is_remote, local_path
from flprivacy.study.plan import Plan

LOGGER = logging.getLogger(__name__)


def pull_cohort(*, plan: Path, cohort: Path, resolved: str = "", store: str = "") -> StepResult:
    """Bring the volumes that an audit reads to where the other steps find them, verified; the manifest stays whole.

    A cohort that is on the same disk already is linked, whole. From anywhere else only the exposed scans of all
    seeds and those that attacks are scored on are fetched, by ranged reads.

    Args:
        plan: the run's resolved configuration: where the cohort is, and the exposed fractions and attacker seeds.
        cohort: folder to write: ``cohort.json``, ``manifest.parquet``, the volumes, and ``present.parquet`` unless all
            of them are here.
        resolved: what step ``resolve_cohort`` returned: a cached pull is used again only while that stays the same.
            Empty: whatever is there now.
        store: location of finished artifacts and checkpoints; an interrupted pull resumes from it.

    Returns:
        The cohort's digest.

    Raises:
        CohortError: the cohort breaks the format's rules.
        ChangedObjectError: it is no longer the one that was resolved, or changed while it was read.
        StorageError: an object cannot be read or stays damaged.
    """
    run = Plan.read(plan)
    location, attack = run.cohort, run.study.attack
    source = look_at_cohort(location)
    meta = source.place.meta
    if resolved not in ("", source.place.version):
        raise ChangedObjectError(f"{location}: changed since it was resolved; run again once it is finished")
    if not is_remote(location) and _on_one_disk(local_path(location), cohort):
        deliver(local_path(location), cohort)
        return _described(meta.digest)
    rows = audited_rows(source, fraction=max(attack.fractions), seeds=attack.seeds, members=attack.members)
    inputs = {"pulled": meta.digest, "rows": selection_digest(meta.digest, rows)}

    def make(work: Path, folder: Path) -> None:
        _tell(source, rows, bring_rows(source, rows, work=work, folder=folder))

    deliver(open_store(store).build("cohort", inputs, make), cohort)
    return _described(meta.digest)


def _described(digest: str) -> StepResult:
    return StepResult(parameters={"Output": digest}, metadata={"cohort": {"digest": digest}})


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
