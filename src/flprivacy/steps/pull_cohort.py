"""Step ``pull_cohort``: bring the volumes that an audit reads to where the other steps read them."""

from pathlib import Path

import numpy as np

from flprivacy.cohorts.placed import pulled, write_place
from flprivacy.cohorts.remote import SourceCohort, audited_rows, bring_rows, look_at_cohort
from flprivacy.cohorts.selection import selection_digest
from flprivacy.core.events import emit
from flprivacy.execution.container import StepResult
from flprivacy.execution.passing import SharedStore
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.backends.contract import ChangedObjectError
from flprivacy.storage.places import is_shared, open_store
from flprivacy.storage.uris import is_remote, local_path
from flprivacy.study.plan import Plan


def pull_cohort(*, plan: Path, cohort: Path, resolved: str = "", store: SharedStore = "") -> StepResult:
    """Bring the volumes that an audit reads to where the other steps find them, verified; the manifest stays whole.

    A cohort that is on the same disk already is linked, whole. From anywhere else only the exposed scans of all
    seeds and those that attacks are scored on are fetched, by ranged reads; all where references are trained. With a
    store that other machines see, nothing is brought here: the folder names the cohort, and every step reads what it
    needs where it is published.

    Args:
        plan: the run's resolved configuration: where the cohort is, and the exposed fractions and attacker seeds.
        cohort: folder to write: ``cohort.json``, ``manifest.parquet``, the volumes, and ``present.parquet`` unless all
            of them are here; or ``cohort.json`` and ``place.json``.
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
    if not is_shared(store) and not is_remote(location) and _on_one_disk(local_path(location), cohort):
        deliver(local_path(location), cohort)
        return _described(source)
    rows = audited_rows(source.opened(), fraction=max(attack.fractions), seeds=attack.seeds, members=attack.members)
    if run.recipes:
        rows = np.arange(len(source.manifest))
    if is_shared(store):
        write_place(cohort, source)
        return _described(source)
    inputs = {"pulled": meta.digest, "rows": selection_digest(meta.digest, rows)}

    def make(work: Path, folder: Path) -> None:
        emit("note", text=pulled(source, rows, bring_rows(source, rows, work=work, folder=folder)))

    deliver(open_store(store).build("cohort", inputs, make), cohort)
    return _described(source)


def _described(source: SourceCohort) -> StepResult:
    meta = source.place.meta
    facts = {"digest": meta.digest, "cohort": meta.name, "scans": len(source.manifest), "sites": len(meta.site_names)}
    return StepResult(parameters={"Output": meta.digest}, metadata={"cohort": {**facts, "place": source.place.uri}})


def _on_one_disk(source: Path, out: Path) -> bool:
    """Say whether files of ``source`` can be linked at ``out``."""
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    return source.stat().st_dev == folder.stat().st_dev
