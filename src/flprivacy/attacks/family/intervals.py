"""Classes that are intervals of a number that the attacker knows, too: age bands, of scans whose age is known."""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from flprivacy.attacks.family.problem import Problem

FloatArray = npt.NDArray[np.float64]

_LEAST = 1e-9  # probability of an interval


def evidence_of_years(
    problem: Problem, years: FloatArray, left_out: FloatArray, held_out: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return what predicted years say of intervals, (scan, class) and (held-out scan, class) evidence.

    Years are off by as much, normally distributed, as those of the exposed scans are.

    Args:
        problem: the intervals of the exposed scans, in rising order.
        years: (scan,) of the exposed scans.
        left_out: (scan,) years predicted for the exposed scans, each without its own fold.
        held_out: (held-out scan,) predicted years.
    """
    edges = _edges(problem, years)
    error = max(float(np.sqrt(np.mean((left_out - years) ** 2))), float(np.finfo(np.float32).tiny))
    first, second = (
        np.log(np.maximum(np.diff(ndtr((edges - one[:, None]) / error), axis=1), _LEAST)) - problem.log_prior
        for one in (left_out, held_out)
    )
    return first, second


def _edges(problem: Problem, years: FloatArray) -> FloatArray:
    """Return (class + 1,) bounds half-way between exposed scans of different intervals; outer ones are infinite."""
    edges = np.full(problem.n_classes + 1, np.inf)
    edges[0] = -np.inf
    for index in range(1, problem.n_classes):
        above = problem.classes >= index
        edges[index] = (np.max(years[~above], initial=-np.inf) + np.min(years[above], initial=np.inf)) / 2.0
    return edges
