"""Linear regression of years with penalties; on the axes of a kernel, kernel ridge regression."""

from collections.abc import Sequence

import numpy as np

from flprivacy.attacks.family.fits import Fit
from flprivacy.attacks.family.problem import Answers, Problem
from flprivacy.core.array_types import FloatArray

# Of the squared length of the coefficients, for features of mean squared norm 1.
PENALTIES = tuple(float(one) for one in np.geomspace(1e-6, 3.0, 14))
SHARES = (1.0, 0.5, 0.2)  # of the coefficients by shrunken variances, and by the widest axes alone
_SCANS_AN_AXIS = 3  # for the latter: of more axes, only noise would be known


def ridge(fits: Sequence[Fit], problem: Problem) -> Answers:
    """Learn years of scans; see :data:`flprivacy.attacks.family.problem.Learner`.

    Candidates are ridge regressions by their penalties; then regressions on variances that are shrunk axis by axis;
    then regressions on the widest principal axes, which nothing but their order depends on the coordinates' scale.
    """
    values = problem.values
    left_out = np.empty((len(PENALTIES) + 2 * len(SHARES), len(values)))
    for fold, one in enumerate(fits[:-1]):
        out = problem.folds == fold
        left_out[:, out] = _years(one, values[~out])
    lowest, highest = values.min(), values.max()  # no careful attacker answers beyond the exposed ages
    first, second = (np.clip(one, lowest, highest)[..., None] for one in (left_out, _years(fits[-1], values)))
    return Answers(left_out=first, held_out=second)


def _years(one: Fit, values: FloatArray) -> FloatArray:
    """Return (candidate, asked scan) years."""
    mean, variances, scans = values.mean(), one.variances, len(values)
    ridged = 1.0 / (variances + np.outer(PENALTIES, variances.sum()))
    shrunk = np.outer(SHARES, 1.0 / one.variances_elsewhere)
    widest = np.outer(SHARES, 1.0 / variances)
    widest[:, : max(len(variances) - scans // _SCANS_AN_AXIS, 0)] = 0.0
    coefficients = np.vstack([ridged, shrunk, widest]) * (one.learnt.T @ (values - mean) / scans)
    years: FloatArray = mean + coefficients @ one.asked.T
    return years
