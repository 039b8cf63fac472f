"""Who was trained on, drawn again: the null distribution of every test of copying.

Which patients of a hospital were held out was chance. A generator that knows nothing of that choice cannot be nearer to
those that were trained on than to as many others, so every statistic is compared with itself under other choices,
patients being moved as a whole and within their hospital. That is exact whatever the generator returns and whatever
distance is used, as long as neither looked at the choice (Pesarin and Salmaso, Permutation Tests, 2010).
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def choices(training: BoolArray, strata: IntArray, *, permutations: int, seed: int) -> BoolArray:
    """Return (1 + permutation, patient) who was trained on: first as it was, then drawn again within strata.

    Args:
        training: (patient,) who was trained on.
        strata: (patient,) index of each one's hospital.
        permutations: choices to draw.
        seed: draws them.
    """
    rng = np.random.default_rng(seed)
    drawn = np.tile(training, (permutations + 1, 1))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        drawn[1:, members] = rng.permuted(drawn[1:, members], axis=1)
    return drawn


def p_values(statistics: FloatArray) -> FloatArray:
    """Return the share of (choice, statistic) that is no larger than each: small values are the suspicious ones."""
    n = len(statistics)
    columns = [np.searchsorted(np.sort(one), one, side="right") / n for one in statistics.T]
    return np.stack(columns, axis=1)


def p_of_all(of_each: FloatArray) -> float:
    """Return the p-value of the smallest of several p-values, from (choice, test) of which row 0 is what was found.

    It allows for their number, and for how they hang together, exactly (Westfall and Young, 1993).
    """
    smallest = of_each.min(axis=1)
    return float((smallest <= smallest[0]).mean())
