"""Whether features that were brought as arrays belong to the scans that they are said to be of.

Features of scans in another order, or of other scans, look like those of a model that gives nothing away. But any
network's features have something to do with what a scan looks like, even those of fresh weights.
"""

import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import Float32Array, FloatArray
from flprivacy.core.errors import AttackError

MOST_SCANS = 128
_LEAST_SCANS = 30
_PERMUTATIONS = 999
UNRELATED = 0.01  # of a hundred networks whose features have nothing to do with the scans, one is let pass
_CELLS = 4


def looks(volumes: npt.NDArray[np.uint8]) -> FloatArray:
    """Return what scans (n, depth, height, width) look like from afar: the means of 4 x 4 x 4 blocks, (n, 64)."""
    found = volumes.astype(np.float64)
    for axis in (1, 2, 3):
        parts = np.array_split(found, min(_CELLS, found.shape[axis]), axis=axis)
        found = np.concatenate([part.mean(axis=axis, keepdims=True) for part in parts], axis=axis)
    return found.reshape(len(found), -1)


def check_related(features: Float32Array, looked: FloatArray, whose: str) -> None:
    """Refuse features (n, feature) that have nothing to do with what their scans look like, (n, block).

    The RV coefficient of both, by ranks, is compared with those of 999 permutations of the scans (Josse et al.,
    Computational Statistics & Data Analysis 2008). Of fewer than 30 scans nothing is said.

    Raises:
        AttackError: they are no more alike than those of permuted scans.
    """
    if len(features) < _LEAST_SCANS:
        return
    p_value = unrelated(features.astype(np.float64), looked)
    if p_value > UNRELATED:
        raise AttackError(
            f"{whose}: its features have nothing to do with what the scans look like (p {p_value:.2g}), so they are of "
            "other scans or in another order; check the scan ids"
        )


def unrelated(one: FloatArray, other: FloatArray) -> float:
    """Return the p-value, by permutation, of no relation between two descriptions (n, k) of the same scans."""
    first, second = _alike(one), _alike(other)
    rng = np.random.default_rng(0)
    own = float((first * second).sum())
    orders = (rng.permutation(len(second)) for _ in range(_PERMUTATIONS))
    at_least = sum(float((first * second[np.ix_(order, order)]).sum()) >= own for order in orders)
    return (1 + at_least) / (1 + _PERMUTATIONS)


def _alike(columns: FloatArray) -> FloatArray:
    """Return how alike each two scans are, (n, n): inner products of the ranks of their columns, centred."""
    ordered = np.sort(columns, axis=0)
    ranks = np.stack(
        [
            np.searchsorted(s, c, "left") + np.searchsorted(s, c, "right")
            for s, c in zip(ordered.T, columns.T, strict=True)
        ],
        axis=1,
    ).astype(np.float64)
    ranks -= ranks.mean(axis=0)
    ranks /= np.maximum(ranks.std(axis=0), 1e-12)
    found: FloatArray = ranks @ ranks.T
    return found
