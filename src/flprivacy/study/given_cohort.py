"""The given cohort of an audit, brought to where its steps read it."""

from pathlib import Path
from typing import Any

import numpy as np

from flprivacy.cohorts.placed import pulled, write_place
from flprivacy.cohorts.remote import SourceCohort, audited_rows, bring_rows, look_at_cohort
from flprivacy.cohorts.selection import selection_digest
from flprivacy.core.events import emit
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import is_shared, open_store
from flprivacy.storage.uris import is_remote, local_path
from flprivacy.study.plan import Plan


def pull_cohort(run: Plan, out: Path, *, store: str = "") -> dict[str, Any]:
    """Bring the volumes that an audit reads to where its steps find them, verified; the manifest stays whole.

    A cohort that is on the same disk already is linked, whole. From anywhere else only the exposed scans of all
    seeds and those that attacks are scored on are fetched, by ranged reads; all where something is trained. With a
    store that other machines see, nothing is brought here: the folder names the cohort, and every step reads what it
    needs where it is published.

    Args:
        run: where the cohort is, and the exposed fractions and attacker seeds.
        out: folder to write: ``cohort.json``, ``manifest.parquet``, the volumes, and ``present.parquet`` unless all
            of them are here; or ``cohort.json`` and ``place.json``.
        store: location of finished artifacts and checkpoints; an interrupted pull resumes from it.

    Returns:
        What may be said of the cohort: digest, name, counts and place.

    Raises:
        CohortError: the cohort breaks the format's rules.
        ChangedObjectError: it changed while it was read.
        StorageError: an object cannot be read or stays damaged.
    """
    location, attack = run.cohort, run.study.attack
    source = look_at_cohort(location)
    meta = source.place.meta
    if not is_shared(store) and not is_remote(location) and _on_one_disk(local_path(location), out):
        deliver(local_path(location), out)
        return _described(source)
    if is_shared(store):
        write_place(out, source)
        return _described(source)
    rows = audited_rows(source.opened(), fraction=max(attack.fractions), seeds=attack.seeds, members=attack.members)
    if run.trains_on_given:
        rows = np.arange(len(source.manifest))
    inputs = {"pulled": meta.digest, "rows": selection_digest(meta.digest, rows)}

    def make(work: Path, folder: Path) -> None:
        emit("note", text=pulled(source, rows, bring_rows(source, rows, work=work, folder=folder)))

    deliver(open_store(store).build("cohort", inputs, make), out)
    return _described(source)


def _described(source: SourceCohort) -> dict[str, Any]:
    meta = source.place.meta
    facts = {"digest": meta.digest, "cohort": meta.name, "scans": len(source.manifest), "sites": len(meta.site_names)}
    return facts | {"place": source.place.uri}


def _on_one_disk(source: Path, out: Path) -> bool:
    """Say whether files of ``source`` can be linked at ``out``."""
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    return source.stat().st_dev == folder.stat().st_dev
