"""Aggregation of clients' weights: pure functions over lists of arrays."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flprivacy.core.errors import TrainingError

Array = npt.NDArray[Any]


def weighted_average(models: Iterable[Sequence[Array]], sizes: Sequence[float]) -> list[Array]:
    """Return the average of models' weights, each counted by its size (FedAvg, arXiv:1602.05629, algorithm 1).

    Sums in float64 and one model at a time, so that ``models`` may be a generator and memory holds one of them.
    The average of one model is that model, bit for bit.

    Args:
        models: per client, its weights: the same arrays in the same order for every client.
        sizes: per client, its number of training scans; not negative, not all zero.

    Raises:
        TrainingError: sizes do not sum to a positive number, or models and sizes do not match.
    """
    shares = np.asarray(sizes, dtype=np.float64)
    if not len(shares) or shares.min() < 0 or not 0 < shares.sum() < np.inf:
        raise TrainingError(f"client sizes are {list(sizes)}; they must not be negative and must sum above 0")
    shares = shares / shares.sum()
    sums: list[npt.NDArray[np.float64]] = []
    dtypes: list[np.dtype[Any]] = []
    counted = 0
    for weights in models:
        shapes = [np.shape(w) for w in weights]
        if counted == len(shares) or (sums and shapes != [s.shape for s in sums]):
            raise TrainingError(
                f"client {counted}: its weights {shapes} do not match the others'; train one architecture"
            )
        if not sums:
            dtypes = [w.dtype for w in weights]
            sums = [np.zeros(shape) for shape in shapes]
        for total, array in zip(sums, weights, strict=True):
            total += shares[counted] * array
        counted += 1
    if counted != len(shares):
        raise TrainingError(f"{counted} clients' weights for {len(shares)} sizes; give one size a client")
    return [total.astype(dtype) for total, dtype in zip(sums, dtypes, strict=True)]
