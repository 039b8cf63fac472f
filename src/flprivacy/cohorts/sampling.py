"""Which patients are held out, and which training scans an attacker gets to see."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import BoolArray, IntArray, StrArray
from flprivacy.core.cohort import TEST, TRAIN, Cohort
from flprivacy.core.errors import AttackError, CohortError, check

# Keeps floor(0.29 * 100) at 29: the product is 28.999999999999996.
_TOLERANCE = 1e-9
_SPLIT_STREAM, _EXPOSURE_STREAM, _MEMBER_STREAM = 1, 2, 3


def split_patients(patient_ids: npt.ArrayLike, site_ids: npt.ArrayLike, *, test_fraction: float, seed: int) -> StrArray:
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
    check(0.0 < test_fraction < 1.0, "test_fraction", test_fraction, "must be between 0 and 1, both excluded")
    check(seed >= 0, "seed", seed, "must not be negative")
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


def check_exposure(fractions: Sequence[float], seeds: Sequence[int]) -> None:
    """Refuse exposed fractions or attacker seeds that are missing, repeat or are out of range, with a ConfigError."""
    check(bool(fractions), "fractions", fractions, "give at least one exposed fraction")
    for fraction in fractions:
        rule = "must be above 0 and at most 1 (a fraction, not percent)"
        check(0.0 < fraction <= 1.0, "exposed fraction", fraction, rule)
    check(len(set(fractions)) == len(fractions), "fractions", fractions, "must not repeat")
    check(bool(seeds) and len(set(seeds)) == len(seeds), "seeds", seeds, "give different seeds")
    check(min(seeds) >= 0, "seeds", seeds, "must not be negative")


def exposed_rows(cohort: Cohort, *, fraction: float, seed: int) -> IntArray:
    """Draw the training scans that the attacker sees, with their site, sex and age, stratified by site.

    Returns:
        (n,) row numbers, ascending.

    Raises:
        ConfigError: ``fraction``, in (0, 1], or the attacker's ``seed`` is out of range.
        AttackError: a site of the cohort has no training scan.
    """
    train = cohort.rows(TRAIN)
    sites = cohort.manifest["site_id"].to_numpy()[train]
    empty = [name for site, name in enumerate(cohort.meta.site_names) if site not in sites]
    if empty:
        raise AttackError(
            f"cohort {cohort.meta.name!r}: site {empty[0]!r} has no training scan, so none can be exposed; "
            "give it training scans or remove it from the cohort"
        )
    return train[draw_exposed(sites, fraction=fraction, seed=seed)]


def member_rows(cohort: Cohort, *, fractions: Sequence[float], seeds: Sequence[int]) -> IntArray:
    """Draw the training scans on which attacks are scored, too: what a model tells of scans that it was trained on.

    Of each site as many as it has held-out scans, or all that there are, among the scans of patients of whom no
    attacker holds a scan. So every attacker is scored on the same ones.

    Args:
        cohort: an opened cohort.
        fractions: exposed fractions of the training scans; the largest counts, as samples are nested.
        seeds: attacker seeds.

    Returns:
        (n,) row numbers, ascending; none where the attackers hold scans of everybody.

    Raises:
        ConfigError: a fraction or seed is out of range.
        AttackError: a site of the cohort has no training scan.
    """
    exposed = np.concatenate([exposed_rows(cohort, fraction=max(fractions), seed=seed) for seed in seeds])
    patients, sites = (cohort.manifest[name].to_numpy() for name in ("patient_id", "site_id"))
    train = cohort.rows(TRAIN)
    free = train[~np.isin(patients[train], np.unique(patients[exposed]))]
    names, counts = np.unique(sites[cohort.rows(TEST)], return_counts=True)
    chosen = [np.empty(0, np.int64)]
    for site, count in zip(names.tolist(), counts.tolist(), strict=True):
        own = free[sites[free] == site]
        chosen.append(np.random.default_rng([_MEMBER_STREAM, site]).permutation(own)[:count])
    return np.sort(np.concatenate(chosen))


def draw_exposed(strata: npt.NDArray[np.integer[Any]], *, fraction: float, seed: int) -> IntArray:
    """Draw the exposed scans of one attacker: ``max(1, floor(fraction * n))`` of the n scans of each stratum.

    They are a prefix of one permutation per seed and stratum. So the sample of a smaller fraction is part of that of a
    larger one for the same seed, and one stratum's draw does not depend on which other strata there are.

    Args:
        strata: (scan,) stratum of each training scan (its site), 0 or more.
        fraction: exposed fraction of the training scans, in (0, 1].
        seed: attacker seed.

    Returns:
        (n,) positions in ``strata``, ascending.

    Raises:
        ConfigError: ``fraction`` or ``seed`` is out of range.
    """
    check_exposure((fraction,), (seed,))
    chosen = []
    for stratum in np.unique(strata).tolist():
        places = np.flatnonzero(strata == stratum)
        order = np.random.default_rng([_EXPOSURE_STREAM, seed, stratum]).permutation(places)
        chosen.append(order[: max(1, math.floor(fraction * len(places) + _TOLERANCE))])
    return np.sort(np.concatenate(chosen))


def _hold_out(members: dict[int, IntArray], n_patients: int, fraction: float, seed: int) -> BoolArray:
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
