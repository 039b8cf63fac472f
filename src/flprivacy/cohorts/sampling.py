"""Which patients are held out, and which training scans an attacker gets to see."""

import math

import numpy as np
import numpy.typing as npt

from flprivacy.core.cohort import TEST, TRAIN, Cohort
from flprivacy.core.errors import AttackError, CohortError, ConfigError

# Keeps floor(0.29 * 100) at 29: the product is 28.999999999999996.
_TOLERANCE = 1e-9
_SPLIT_STREAM, _EXPOSURE_STREAM = 1, 2


def split_patients(
    patient_ids: npt.ArrayLike, site_ids: npt.ArrayLike, *, test_fraction: float, seed: int
) -> npt.NDArray[np.str_]:
    """Assign whole patients to training or test, stratified by site.

    At each site ``test_fraction`` of the patients (rounded to the nearest, at least one and never all) is held out.
    The draw depends on the identifiers and the seed alone, not on the order of the scans. A patient seen at several
    sites counts at each of them and is assigned once, at the smallest of those sites.

    Args:
        patient_ids: (n,) pseudonym of each scan's patient.
        site_ids: (n,) site of each scan.
        test_fraction: fraction of the patients held out, strictly between 0 and 1.
        seed: draws the patients.

    Returns:
        (n,) ``train`` or ``test`` for each scan.

    Raises:
        ConfigError: ``test_fraction`` or ``seed`` is out of range.
        CohortError: a site cannot have both a training and a test patient.
    """
    if not 0.0 < test_fraction < 1.0:
        raise ConfigError(f"test_fraction is {test_fraction!r}; must be between 0 and 1, both excluded")
    if seed < 0:
        raise ConfigError(f"seed is {seed!r}; must not be negative")
    names, patients = np.unique(np.asarray(patient_ids, dtype=np.str_), return_inverse=True)
    sites = np.asarray(site_ids, dtype=np.int64)
    if patients.shape != sites.shape or sites.ndim != 1:
        raise CohortError(f"{patients.shape} patients and {sites.shape} sites; give one of each per scan")
    members = {int(site): np.unique(patients[sites == site]) for site in np.unique(sites)}
    held_out = _hold_out(members, len(names), test_fraction, seed)
    for site, group in members.items():
        tests = int(held_out[group].sum())
        if not 0 < tests < len(group):
            raise CohortError(
                f"site {site} has {len(group)} patients, {tests} of them held out; every site needs a training and a "
                "test patient, so leave the site out or merge it with another"
            )
    return np.where(held_out[patients], TEST, TRAIN)


def exposed_rows(cohort: Cohort, *, fraction: float, seed: int) -> npt.NDArray[np.int64]:
    """Draw the training scans that the attacker sees, with their site, sex and age.

    Each site gives ``max(1, floor(fraction * n_site))`` of its training scans: a prefix of one permutation per seed
    and site. So the sample of a smaller fraction is part of that of a larger one for the same seed, and one site's
    draw does not depend on which other sites there are.

    Args:
        cohort: an opened cohort.
        fraction: exposed fraction of the training scans, in (0, 1].
        seed: attacker seed.

    Returns:
        (n,) row numbers, ascending.

    Raises:
        AttackError: ``fraction`` or ``seed`` is out of range, or a site of the cohort has no training scan.
    """
    if not 0.0 < fraction <= 1.0:
        raise AttackError(f"exposed fraction is {fraction!r}; must be above 0 and at most 1 (a fraction, not percent)")
    if seed < 0:
        raise AttackError(f"attacker seed is {seed!r}; must not be negative")
    train = cohort.rows(TRAIN)
    sites = cohort.manifest["site_id"].to_numpy()[train]
    chosen = []
    for site, name in enumerate(cohort.meta.site_names):
        rows = train[sites == site]
        if not len(rows):
            raise AttackError(
                f"{cohort.folder}: site {name!r} has no training scan, so none can be exposed; "
                "give it training scans or remove it from the cohort"
            )
        order = np.random.default_rng([_EXPOSURE_STREAM, seed, site]).permutation(rows)
        chosen.append(order[: max(1, math.floor(fraction * len(rows) + _TOLERANCE))])
    return np.sort(np.concatenate(chosen))


def _hold_out(
    members: dict[int, npt.NDArray[np.int64]], n_patients: int, fraction: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Return (patient,) whether each is held out. Small sites choose first: they have the least choice."""
    held_out = np.zeros(n_patients, dtype=bool)
    assigned = np.zeros(n_patients, dtype=bool)
    for site in sorted(members, key=lambda s: (len(members[s]), s)):
        group = members[site]
        wanted = min(max(1, math.floor(fraction * len(group) + 0.5)), len(group) - 1)
        free = np.random.default_rng([_SPLIT_STREAM, seed, site]).permutation(group[~assigned[group]])
        held_out[free[: max(0, wanted - int(held_out[group].sum()))]] = True
        assigned[group] = True
    return held_out
