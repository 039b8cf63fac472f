"""Ridge regression of years; on the axes of a kernel, kernel ridge regression.

Of the answers without a scan's fold nothing is fitted anew: they follow from the residuals of the one fit to all scans
(Cook and Weisberg, Residuals and Influence in Regression, 1982, for single scans).
"""

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.family.bases import Basis
from flprivacy.attacks.family.problem import Answers, Problem

FloatArray = npt.NDArray[np.float64]

# Of the squared length of the coefficients, for features of mean squared norm 1.
PENALTIES = tuple(float(one) for one in np.geomspace(1e-6, 3.0, 14))
_SMALLEST = 1e-12


def ridge(basis: Basis, problem: Problem) -> Answers:
    """Learn years of scans; see :data:`flprivacy.attacks.family.problem.Learner`."""
    scans, mean = len(problem.values), problem.values.mean()
    centre = basis.exposed.mean(axis=0)
    features, years = basis.exposed - centre, problem.values - mean
    squares, turn = np.linalg.eigh(features.T @ features)
    keep = squares > _SMALLEST * max(squares.max(initial=0.0), np.finfo(np.float64).tiny)
    squares, turn = squares[keep], turn[:, keep]
    axes = features @ (turn / np.sqrt(squares))  # (scan, axis), orthonormal
    projected = axes.T @ years
    asked = (basis.held_out - centre) @ turn
    left_out, held_out = np.empty((len(PENALTIES), scans)), np.empty((len(PENALTIES), len(asked)))
    for number, penalty in enumerate(PENALTIES):
        kept = squares / (squares + penalty * scans)
        residuals = years - axes @ (kept * projected)
        left_out[number] = problem.values - _without_fold(residuals, axes * kept, axes, problem)
        held_out[number] = mean + asked @ (kept * projected / np.sqrt(squares))
    lowest, highest = problem.values.min(), problem.values.max()  # no careful attacker answers beyond the exposed ages
    first, second = (np.clip(one, lowest, highest)[..., None] for one in (left_out, held_out))
    return Answers(left_out=first, held_out=second)


def _without_fold(residuals: FloatArray, one: FloatArray, other: FloatArray, problem: Problem) -> FloatArray:
    """Return (scan,) residuals of fits without each scan's fold, where the fit to all has the hat matrix ``one @
    other.T`` and a mean.
    """
    outer = np.empty_like(residuals)
    for fold in range(problem.n_folds):
        out = np.flatnonzero(problem.folds == fold)
        hat = one[out] @ other[out].T + 1.0 / len(residuals)
        outer[out] = np.linalg.solve(np.eye(len(out)) - hat, residuals[out])
    return outer
