"""Patients as points: scans of a patient lie close to each other, and generators return points."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

DIMENSIONS = 24


@dataclass(frozen=True, kw_only=True, eq=False)
class Hospitals:
    """Real scans with all that is known about them."""

    scans: FloatArray
    patients: npt.NDArray[np.int64]
    sites: npt.NDArray[np.int64]
    training: npt.NDArray[np.bool_]

    def within(self) -> FloatArray:
        return between(self.scans, self.scans)


def hospitals(seed: int, patients: int = 120, sites: int = 4, held_out: float = 0.25) -> Hospitals:
    """Every site has an offset of its own; a fifth of the patients have two scans; of each site some are held out."""
    rng = np.random.default_rng(seed)
    of_site = np.arange(patients) % sites
    owners = np.repeat(np.arange(patients), np.where(np.arange(patients) % 5 == 0, 2, 1))
    person = rng.normal(size=(patients, DIMENSIONS)) + rng.normal(size=(sites, DIMENSIONS))[of_site]
    training = np.ones(patients, dtype=bool)
    for site in range(sites):
        mine = np.flatnonzero(of_site == site)
        training[rng.permutation(mine)[: round(held_out * len(mine))]] = False
    scans = person[owners] + 0.1 * rng.normal(size=(len(owners), DIMENSIONS))
    return Hospitals(scans=scans, patients=owners, sites=of_site[owners], training=training[owners])


def fresh(of: Hospitals, n: int, seed: int) -> FloatArray:
    """Return new patients of the same hospitals: noise around what all scans of a site have in common."""
    rng = np.random.default_rng([seed, 1])
    centres = np.stack([of.scans[of.sites == site].mean(axis=0) for site in np.unique(of.sites)])
    return centres[rng.integers(len(centres), size=n)] + rng.normal(size=(n, DIMENSIONS))


def copies(of: Hospitals, n: int, seed: int, noise: float = 0.2, of_patients: int | None = None) -> FloatArray:
    """Return training scans, a little changed, of all training patients or of so many."""
    rng = np.random.default_rng([seed, 2])
    chosen = rng.permutation(np.unique(of.patients[of.training]))[:of_patients]
    rows = rng.choice(np.flatnonzero(np.isin(of.patients, chosen)), n)
    return of.scans[rows] + noise * rng.normal(size=(n, DIMENSIONS))


def between(first: FloatArray, second: FloatArray) -> FloatArray:
    return np.linalg.norm(first[:, None] - second, axis=2)
