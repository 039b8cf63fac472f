"""What the checks of a generator look at: real scans with their patients, and some of its samples."""

from dataclasses import dataclass

import numpy as np

from flprivacy.cohorts.format import read_volumes
from flprivacy.core.array_types import BoolArray, IntArray, Volumes
from flprivacy.core.cohort import TRAIN, Cohort


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A cohort, a synthetic one made from its training scans, and who is who.

    Attributes:
        cohort: the real scans.
        synthetic: the synthetic ones.
        samples: (sample,) rows of the synthetic scans that are looked at.
        patients: (real scan,) index of each one's patient.
        training: (real scan,) whether it was trained on.
    """

    cohort: Cohort
    synthetic: Cohort
    samples: IntArray
    patients: IntArray
    training: BoolArray

    def real_volumes(self, rows: IntArray) -> Volumes:
        """Return uint8 (k, depth, height, width) of real scans."""
        return read_volumes(self.cohort, rows)

    def sample_volumes(self, places: IntArray) -> Volumes:
        """Return uint8 (k, depth, height, width) of samples, (k,) places among them."""
        return read_volumes(self.synthetic, self.samples[places])

    def first_scans(self) -> IntArray:
        """Return (patient,) the row of each patient's first scan."""
        return np.unique(self.patients, return_index=True)[1]

    def truth(self, column: str) -> IntArray:
        """Return (real scan,) values of a whole-numbered column of the manifest."""
        return self.cohort.manifest[column].to_numpy(dtype=np.int64)

    def asked(self, column: str) -> IntArray:
        """Return (sample,) likewise."""
        return self.synthetic.manifest[column].to_numpy(dtype=np.int64)[self.samples]


def subject_of(cohort: Cohort, synthetic: Cohort, *, most: int, seed: int) -> Subject:
    """Draw up to ``most`` samples, and number the patients."""
    n = len(synthetic.manifest)
    _, patients = np.unique(cohort.manifest["patient_id"].to_numpy(dtype=np.str_), return_inverse=True)
    return Subject(
        cohort=cohort,
        synthetic=synthetic,
        samples=np.sort(np.random.default_rng([seed, 3]).permutation(n)[:most]),
        patients=patients.astype(np.int64),
        training=(cohort.manifest["split"] == TRAIN).to_numpy(),
    )
