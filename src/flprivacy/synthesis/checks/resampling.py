"""Intervals over patients for numbers that compare two samples."""

from collections.abc import Callable

import numpy as np

from flprivacy.core.array_types import IntArray
from flprivacy.core.generator_audit import Measured

_QUANTILE = 1.959964  # of the normal distribution, for 95%


def even_samples(patients: IntArray, n: int, seed: int) -> IntArray:
    """Return up to ``n`` scans, (k,) ascending indices, drawn so that all scans of a patient are in or out.

    Args:
        patients: (scan,) index of each one's patient.
        n: scans to draw; the last patient drawn may be one scan too many, who is left out.
        seed: draws them.
    """
    _, index, sizes = np.unique(patients, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    chosen = np.zeros(len(sizes), dtype=bool)
    chosen[order[np.cumsum(sizes[order]) <= n]] = True
    return np.flatnonzero(chosen[index])


def measured(
    statistic: Callable[[IntArray, IntArray], float],
    first: IntArray,
    second: IntArray,
    *,
    replicates: int = 200,
    seed: int = 0,
) -> Measured:
    """Return a statistic of two samples with a 95% interval from a bootstrap over patients.

    Resampling leaves out a third of the patients, which makes distances between distributions larger: the bootstrap
    gives the spread only, around the number as it was measured, and the interval is cut off at 0.

    Args:
        statistic: (k,) rows of the first sample and (l,) rows of the second -> a number, 0 or more.
        first: (scan,) patients of the first sample.
        second: (scan,) patients of the second.
        replicates: resamples.
        seed: draws them.
    """
    rng = np.random.default_rng([seed, 2])
    value = statistic(np.arange(len(first)), np.arange(len(second)))
    drawn = [statistic(_resampled(first, rng), _resampled(second, rng)) for _ in range(replicates)]
    reach = _QUANTILE * float(np.std(drawn, ddof=1))
    return Measured(value=value, low=max(value - reach, 0.0), high=value + reach)


def _resampled(patients: IntArray, rng: np.random.Generator) -> IntArray:
    """Return rows of as many patients as there are, drawn with replacement, all scans of each."""
    _, index, sizes = np.unique(patients, return_inverse=True, return_counts=True)
    order, starts = np.argsort(index, kind="stable"), np.concatenate([[0], np.cumsum(sizes)])
    drawn = rng.integers(len(sizes), size=len(sizes))
    return np.concatenate([order[starts[one] : starts[one + 1]] for one in drawn])
