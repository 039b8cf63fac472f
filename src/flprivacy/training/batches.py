"""Batches of one fixed size, so that the optimisation step is traced once for every client, however small.

The last batch of an epoch is filled up with repeats of the same client's scans at weight 0. With a loss divided by
the sum of the weights, its gradient is exactly that of the real scans for every network that treats scans apart
(GroupNorm, LayerNorm). Under BatchNorm the repeats enter the batch's statistics: these are then over scans of the
same client and more than the batch alone would give, which a last batch of one or two scans needs anyway.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.training.place import Place


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One step's scans.

    Attributes:
        indices: (batch,) positions in the client's scans, in [0, n).
        weights: (batch,) float32 loss weights: 1 for a scan of this step, 0 for filling.
    """

    indices: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]


def shuffled_batches(
    n: int, batch_size: int, generator: np.random.Generator, place: Place | None = None
) -> Iterator[Batch]:
    """Yield ``ceil(n / batch_size)`` batches that take each of ``n`` scans once, in a random order.

    Filling wraps around to the start of the order, several times over where a client is smaller than a batch.
    ``place``, which other methods draw from, is not needed here.
    """
    order = generator.permutation(n)
    for start in range(0, n, batch_size):
        real = order[start : start + batch_size]
        filling = np.resize(order, batch_size - len(real))
        weights = np.zeros(batch_size, dtype=np.float32)
        weights[: len(real)] = 1.0
        yield Batch(indices=np.concatenate([real, filling]), weights=weights)


def steps_per_epoch(n: int, batch_size: int, client: int = 0) -> int:
    """Return the number of optimisation steps in one pass over ``n`` scans, the same for every client."""
    return -(-n // batch_size)
