"""Halves of a cohort that references are trained on: a random half of the patients, or of the hospitals.

References come in pairs, one on each half. The draw depends on the recipe, the cohort and the number of the pair, and
on nothing that is found in the scans.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.sampling import split_patients
from flprivacy.core.cohort import TEST, TRAIN, Cohort
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import CohortError, TrainingError
from flprivacy.core.vocabulary import PATIENTS, SITES
from flprivacy.training.config import TargetConfig

LEAST_SITES = 4  # two in each half: with fewer no hospital can be told from another that was drawn like it


@dataclass(frozen=True, kw_only=True, eq=False)
class Half:
    """What one reference is trained on.

    Attributes:
        drawn: what the half is of, ``patients`` or ``sites``.
        cohort: the training scans of the half, and what is held out; of hospitals, those of the half alone.
        rows: (row of the half,) row of the whole cohort.
        sites: (site of the half,) index of the site in the whole cohort.
    """

    drawn: str
    cohort: Cohort
    rows: npt.NDArray[np.int64]
    sites: tuple[int, ...]


def draw_half(cohort: Cohort, *, drawn: str, recipe: str, index: int) -> Half:
    """Draw what a reference is trained on, half of the ``patients`` or of the ``sites``.

    Raises:
        TrainingError: a site has a single patient, there are fewer than 4 sites, or volumes are missing.
    """
    if cohort.places is not None and (cohort.places < 0).any():
        raise TrainingError(
            f"{cohort.folder}: holds the volumes of {int((cohort.places >= 0).sum())} of {len(cohort.places)} scans, "
            "and references are trained on all; pull the whole cohort"
        )
    if drawn == SITES:
        return _of_sites(cohort, recipe, index)
    everyone, sites = np.arange(len(cohort.manifest)), tuple(range(len(cohort.meta.site_names)))
    return Half(drawn=drawn, cohort=_of_patients(cohort, recipe, index), rows=everyone, sites=sites)


def _of_patients(cohort: Cohort, recipe: str, index: int) -> Cohort:
    """Return the cohort with a random half of the patients to train on, at each site, and the others held out."""
    manifest, pair = cohort.manifest, draw_number("halves", recipe, cohort.meta.digest, index // 2)
    try:
        split = split_patients(manifest["patient_id"], manifest["site_id"], test_fraction=0.5, seed=pair)
    except CohortError as error:
        raise TrainingError(f"{cohort.folder}: no two halves for references: {error}") from error
    if index % 2:
        split = np.where(split == TRAIN, TEST, TRAIN)
    digest = digest_json([cohort.meta.digest, "reference", recipe, index])
    return replace(cohort, manifest=manifest.assign(split=split), meta=replace(cohort.meta, digest=digest))


def _of_sites(cohort: Cohort, recipe: str, index: int) -> Half:
    """Return the cohort of a random half of the sites, with the split that they have; no other site is in it."""
    of_scans, train = cohort.manifest["site_id"].to_numpy(dtype=np.int64), cohort.rows(TRAIN)
    there = np.unique(of_scans[train])
    if len(there) < LEAST_SITES:
        raise TrainingError(
            f"{cohort.folder}: {len(there)} site(s) have training scans; references on half of the sites need at least "
            f"{LEAST_SITES}, so ask for none (membership.site_references)"
        )
    pair = draw_number("halves", recipe, cohort.meta.digest, SITES, index // 2)
    shuffled = np.random.default_rng(pair).permutation(there)
    first = len(there) // 2
    sites = np.sort(shuffled[first:] if index % 2 else shuffled[:first])
    rows = np.flatnonzero(np.isin(of_scans, sites))
    manifest = cohort.manifest.iloc[rows].reset_index(drop=True)
    meta = replace(
        cohort.meta,
        site_names=tuple(cohort.meta.site_names[site] for site in sites),
        digest=digest_json([cohort.meta.digest, "reference", SITES, recipe, index]),
    )
    half = replace(
        cohort,
        manifest=manifest.assign(site_id=np.searchsorted(sites, of_scans[rows])),
        meta=meta,
        places=None if cohort.places is None else cohort.places[rows],
    )
    return Half(drawn=SITES, cohort=half, rows=rows, sites=tuple(sites.tolist()))


def renumbered(config: TargetConfig, half: Half) -> TargetConfig:
    """Return a recipe for the clients of a half: what it states of client ``site-07`` goes with that site."""
    privacy = config.privacy
    if half.drawn == PATIENTS or privacy is None or not privacy.populations or config.partition != "natural":
        return config
    stated = {f"site-{new:02d}": privacy.populations.get(f"site-{old:02d}") for new, old in enumerate(half.sites)}
    known = {name: count for name, count in stated.items() if count is not None}
    return replace(config, privacy=replace(privacy, populations=known))


def draw_number(*parts: object) -> int:
    """Return what is drawn from: a number below 2^31 of the digest of some parts."""
    return int(digest_json(list(parts))[:16], 16) % 2**31
