"""The scans that are learnt from, along their own principal axes: for every fold of a cross-validation, and all.

A factorisation costs more than anything that is learnt from it, so attributes, learners and penalties share it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flprivacy.attacks.family.bases import widest
from flprivacy.core.array_types import FloatArray, IntArray

_FAR = 1e3  # bandwidths beyond which the kernel's Hilbert transform is its tail, and its formula cancels
_ROOT = np.sqrt(5.0)
_TINY = float(np.finfo(np.float64).tiny)


def nonlinear_shrinkage(variances: FloatArray, degrees: int) -> FloatArray:
    """Return (axis,) variances that scans other than those learnt from will have along these axes.

    The analytical estimator of Ledoit and Wolf (Annals of Statistics 2020). Unlike a mixture with the identity it works
    at every size of variance, so features whose axes differ by many decades keep what their narrow axes tell.

    Args:
        variances: (axis,) of the scans learnt from, rising.
        degrees: how many axes scans could span, one less than their number; no fewer than there are axes.
    """
    width = degrees ** (-1.0 / 3.0)
    widths = width * np.maximum(variances, _TINY)
    distance = (variances[:, None] - variances) / widths
    density = (3.0 / (4.0 * _ROOT) * np.maximum(1.0 - distance**2 / 5.0, 0.0) / widths).mean(axis=1)
    hilbert = (_hilbert(distance) / widths).mean(axis=1)
    ratio = len(variances) / degrees
    loss = (np.pi * ratio * variances * density) ** 2 + (1.0 - ratio - np.pi * ratio * variances * hilbert) ** 2
    shrunk: FloatArray = variances / np.maximum(loss, _TINY)
    return shrunk


def _hilbert(distance: FloatArray) -> FloatArray:
    """Return the Hilbert transform of Epanechnikov's kernel of variance 1."""
    far = np.abs(distance) > _FAR
    near = np.where(far | (np.abs(np.abs(distance) - _ROOT) < 1e-9), 0.0, distance)
    logarithm = np.log(np.abs((_ROOT - near) / (_ROOT + near)))
    inner = -3.0 / (10.0 * np.pi) * distance + 3.0 / (4.0 * _ROOT * np.pi) * (1.0 - near**2 / 5.0) * logarithm
    return np.where(far, -1.0 / (np.pi * np.where(far, distance, 1.0)), inner)


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


def cross_fits(exposed: FloatArray, held_out: FloatArray, folds: IntArray) -> tuple[Fit, ...]:
    """Return the fit that leaves out each fold and is asked for it, and the one of all exposed scans."""
    without = (fit(exposed[folds != fold], exposed[folds == fold]) for fold in range(int(folds.max()) + 1))
    return (*without, fit(exposed, held_out))
