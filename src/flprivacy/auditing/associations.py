"""How closely the attributes themselves hang together: what is told of one is told of the other, too."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.runs import HeldOut


def associations(held_out: Sequence[HeldOut]) -> dict[str, dict[str, float]]:
    """Return attribute -> another attribute in classes -> how closely the two hang together, in [0, 1].

    The measure is Cramer's V over patients (the first scan of each), corrected for what chance shows of many classes
    (Bergsma, Journal of the Korean Statistical Society 2013): 0 where one says nothing of the other, 1 where it says
    all. A pair of which one does not vary is left out; years stand in their bands.
    """
    found: dict[str, dict[str, float]] = {}
    for one, other in combinations([each for each in held_out if each.class_names], 2):
        _, mine, theirs = np.intersect1d(one.scan_ids, other.scan_ids, assume_unique=True, return_indices=True)
        first = np.unique(one.patients[mine], return_index=True)[1]
        classes = one.truth[mine][first].astype(np.int64), other.truth[theirs][first].astype(np.int64)
        value = cramers_v(*classes)
        if value is not None:
            found.setdefault(one.attribute.name, {})[other.attribute.name] = value
    return found


def cramers_v(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> float | None:
    """Return Cramer's V of two (patient,) classes, corrected for bias; None where one of them does not vary."""
    rows, columns = (np.unique(each, return_inverse=True)[1] for each in (one, other))
    n, shape = len(rows), (len(set(rows.tolist())), len(set(columns.tolist())))
    if min(shape, default=0) < 2 or n < 3:
        return None
    counts = np.zeros(shape)
    np.add.at(counts, (rows, columns), 1.0)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / n
    squared = float((np.square(counts - expected) / expected).sum()) / n
    by_chance = (shape[0] - 1) * (shape[1] - 1) / (n - 1)
    most = min(size - (size - 1) ** 2 / (n - 1) for size in shape) - 1.0
    return min(float(np.sqrt(max(squared - by_chance, 0.0) / most)), 1.0) if most > 0.0 else None
