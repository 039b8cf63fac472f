"""Synthetic cohorts as they leave the building: without the digest of the patients' cohort.

That digest is an exact function of every patient: whoever has two candidates for the cohort could tell which of them a
generator was trained on, however private its training was. It stays in the copy that the store keeps.
"""

from dataclasses import replace
from pathlib import Path

from flprivacy.cohorts.format import open_cohort
from flprivacy.cohorts.manifest import MANIFEST_FILE, cohort_digest
from flprivacy.cohorts.metadata import write_meta
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import CohortError
from flprivacy.core.publish import link_or_copy, publish_folder


def hand_over(folder: Path, out: Path) -> Cohort:
    """Write a synthetic cohort at ``out`` as it may be published; one already there is replaced.

    Raises:
        CohortError: it is damaged, holds scans of patients, or was itself pulled in part.
        StorageError: ``out`` is not writable.
    """
    cohort = open_cohort(folder, synthetic=True)
    if cohort.places is not None or cohort.meta.synthetic_from is None:
        raise CohortError(f"{folder}: holds only the volumes that were pulled; hand over the whole cohort")
    meta = replace(cohort.meta, synthetic_from=replace(cohort.meta.synthetic_from, cohort=""))
    meta = replace(meta, digest=cohort_digest(cohort.manifest, meta))
    with publish_folder(out) as partial:
        for name in (MANIFEST_FILE, *map(str, cohort.manifest["shard"].unique())):
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(folder / name, partial / name)
        write_meta(partial, meta)
    return replace(cohort, meta=meta, folder=out)
