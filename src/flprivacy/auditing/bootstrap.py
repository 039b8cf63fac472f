"""Resampling of patients, as rows of weights on the scans.

Scans of one patient are alike, so the patient is the unit: all of a patient's scans carry the same weight.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampling:
    """Weights of the scans: as they are, in bootstrap replicates, and with patients left out in turn.

    Attributes:
        weights: (1 + ``n_bootstrap`` + ``n_groups``, scan). Row 0 is all ones. The next rows count how often each
            patient was drawn in a bootstrap replicate. The last leave out one group of patients each: one patient,
            unless there are more patients than bootstrap replicates.
        n_bootstrap: number of bootstrap replicates.
        n_groups: number of groups of patients left out in turn.
        n_patients: number of patients.
    """

    weights: FloatArray
    n_bootstrap: int
    n_groups: int
    n_patients: int


def resample_patients(patients: npt.NDArray[np.int64], *, replicates: int, seed: int) -> Resampling:
    """Draw the weights that all attacks on the same scans share, so that their differences are paired.

    Args:
        patients: (scan,) index of each scan's patient, in [0, patients).
        replicates: bootstrap replicates.
        seed: draws the replicates.
    """
    rng = np.random.default_rng([seed])
    n_patients = int(patients.max()) + 1
    picks = rng.integers(n_patients, size=(replicates, n_patients)) + n_patients * np.arange(replicates)[:, None]
    drawn = np.bincount(picks.ravel(), minlength=replicates * n_patients).reshape(replicates, n_patients)
    n_groups = min(n_patients, replicates)
    group = rng.permutation(n_patients) % n_groups
    kept = np.arange(n_groups)[:, None] != group
    by_patient = np.concatenate([np.ones((1, n_patients)), drawn, kept])
    return Resampling(weights=by_patient[:, patients], n_bootstrap=replicates, n_groups=n_groups, n_patients=n_patients)


def bootstrap_rows(values: FloatArray, resampling: Resampling) -> FloatArray:
    """Return the bootstrap replicates among (1 + bootstrap + groups, ...) values."""
    return values[1 : 1 + resampling.n_bootstrap]


def patient_variance(values: FloatArray, resampling: Resampling) -> float:
    """Return the sampling variance over patients of a number, from its replicates.

    It is the mean of two estimates, which agree unless the metric is a mean over classes of which some have one or two
    patients. There the bootstrap is short of variance, by 1/n of a class of n patients (resampling a class's only
    patient shows no spread at all), and the delete-one-patient jackknife has too much, by about as much (Efron &
    Stein, Annals of Statistics 1981). In their mean the two errors cancel to first order.

    Args:
        values: (1 + bootstrap + groups,) the number under every row of weights.
        resampling: the weights.
    """
    left_out = values[1 + resampling.n_bootstrap :]
    jackknife = (1.0 - 1.0 / resampling.n_groups) * np.square(left_out - left_out.mean()).sum()
    return float(bootstrap_rows(values, resampling).var(ddof=1) + jackknife) / 2.0
