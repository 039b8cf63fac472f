"""The nearest patients of a scan: all that tests of copying look at."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import BoolArray, FloatArray, IntArray

# So many of a scan's nearest patients are known. Among them is one of either kind, training or held out, unless hardly
# anybody is of that kind.
KEPT = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours:
    """The nearest patients of some scans, the nearest first.

    Attributes:
        patients: (scan, neighbour) index of the patient.
        distances: (scan, neighbour) to the patient's nearest scan.
    """

    patients: IntArray
    distances: FloatArray

    def __len__(self) -> int:
        """Return the number of scans."""
        return len(self.patients)

    def first(self, chosen: BoolArray) -> tuple[IntArray, FloatArray]:
        """Return (scan,) the nearest patient among the ``chosen`` (patient,), and its distance.

        Where none of the chosen is known, the last one stands for it: it is at least as far.
        """
        inside = chosen[self.patients]
        place = np.where(inside.any(axis=1), inside.argmax(axis=1), inside.shape[1] - 1)
        rows = np.arange(len(place))
        return self.patients[rows, place], self.distances[rows, place]

    def closeness(self) -> FloatArray:
        """Return (scan,) 1 - d1 / d2 of the distances to the two nearest patients: 0 between them, 1 for a copy."""
        second = self.distances[:, 1]
        return 1.0 - np.divide(self.distances[:, 0], second, out=np.ones_like(second), where=second > 0.0)


def joined(parts: list[Neighbours]) -> Neighbours:
    """Return the neighbours of the scans of all parts, one after the other."""
    return Neighbours(
        patients=np.concatenate([one.patients for one in parts]),
        distances=np.concatenate([one.distances for one in parts]),
    )


def nearest_patients(
    distances: npt.NDArray[np.floating], patients: IntArray, *, own: IntArray | None = None, kept: int = KEPT
) -> Neighbours:
    """Return the nearest patients of scans, by the distances to all real scans.

    Args:
        distances: (scan, real scan), not negative.
        patients: (real scan,) index of each one's patient, from 0 on.
        own: (scan,) the patient of each scan, who is no neighbour of it; None for synthetic scans.
        kept: patients to keep of each scan, as far as there are.
    """
    n_patients = int(patients.max()) + 1
    order = np.argsort(patients, kind="stable")
    starts = np.searchsorted(patients[order], np.arange(n_patients))
    by_patient = np.minimum.reduceat(distances[:, order], starts, axis=1).astype(np.float64)
    if own is not None:
        by_patient[np.arange(len(own)), own] = np.inf
    kept = min(kept, n_patients - (own is not None))
    nearest = np.argpartition(by_patient, kept - 1, axis=1)[:, :kept]
    found = np.take_along_axis(by_patient, nearest, axis=1)
    # Ties by the patient's number, so that the order depends on the distances alone.
    rank = np.lexsort((nearest, found), axis=1)
    return Neighbours(
        patients=np.take_along_axis(nearest, rank, axis=1).astype(np.int64),
        distances=np.take_along_axis(found, rank, axis=1),
    )
