"""The scans that are learnt from, along their own principal axes: for every fold of a cross-validation, and all.

A factorisation costs more than anything that is learnt from it, so attributes, learners and penalties share it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.family.bases import widest
from flprivacy.attacks.family.shrinkage import nonlinear_shrinkage

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """What is learnt from and what is asked, in coordinates in which the former is centred and uncorrelated.

    Attributes:
        learnt: (scan, axis); the widest axis is the last.
        asked: (asked scan, axis).
        variances: (axis,) mean squares of ``learnt``, rising.
    """

    learnt: FloatArray
    asked: FloatArray
    variances: FloatArray

    @cached_property
    def variances_elsewhere(self) -> FloatArray:
        """(axis,) what the variances of other scans along these axes are, as far as the variances here tell."""
        return nonlinear_shrinkage(self.variances, max(len(self.learnt) - 1, 1))


def fit(learnt: FloatArray, asked: FloatArray) -> Fit:
    """Turn features, (scan, feature) and (asked scan, feature), by the smaller of the two Gram matrices."""
    mean = learnt.mean(axis=0)
    known, others = learnt - mean, asked - mean
    scans, features = known.shape
    if scans > features:
        variances, axes = widest(*np.linalg.eigh(known.T @ known / scans))
        return Fit(learnt=known @ axes, asked=others @ axes, variances=variances)
    variances, axes = widest(*np.linalg.eigh(known @ known.T / scans))
    lengths = np.sqrt(variances * scans)
    return Fit(learnt=axes * lengths, asked=others @ (known.T @ (axes / lengths)), variances=variances)


def cross_fits(exposed: FloatArray, held_out: FloatArray, folds: npt.NDArray[np.int64]) -> tuple[Fit, ...]:
    """Return the fit that leaves out each fold and is asked for it, and the one of all exposed scans."""
    without = (fit(exposed[folds != fold], exposed[folds == fold]) for fold in range(int(folds.max()) + 1))
    return (*without, fit(exposed, held_out))
