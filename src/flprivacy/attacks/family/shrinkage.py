"""Variances along the principal axes of few scans, corrected for what those axes were chosen by chance."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

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
