"""Site-level differential privacy: DP-FedAvg (McMahan et al., arXiv:1710.06963).

The server clips each client's whole update and adds noise to their sum, so that the model tells little about whether
a hospital took part at all. That is stronger than protecting a scan, and with few hospitals it costs much more noise.
It is no stronger for a patient than it says: who swaps one patient of a site that stays changes that site's update by
up to twice the clip norm.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from flprivacy.core.array_types import Array, FloatArray
from flprivacy.core.errors import TrainingError
from flprivacy.privacy.events import SampledGaussianSteps
from flprivacy.privacy.randomness import SITE_NOISE, gaussian


def private_mean_update(
    updates: Iterable[Sequence[Array]],
    event: SampledGaussianSteps,
    *,
    shapes: Sequence[tuple[int, ...]],
    seed: int,
    round_: int,
) -> list[FloatArray]:
    """Return what the server adds to the global weights: clipped updates, summed, noised, over a fixed denominator.

    Every client counts alike: weights by numbers of scans would let one site move the mean by more than its clip norm.
    One update is in memory at a time if ``updates`` is a generator. A round that drew no client is noise alone.

    Args:
        updates: per drawn client (by Poisson sampling), its weights minus the global ones, all tensors of the model.
        event: the planned rounds: clip norm, noise, and the clients of a round on average, the fixed denominator.
        shapes: of the model's tensors.
        seed: draws the noise; a secret (:mod:`flprivacy.privacy.randomness`).
        round_: names the noise.

    Raises:
        TrainingError: an update does not fit the model or is not finite.
    """
    sums = [np.zeros(shape) for shape in shapes]
    for client, update in enumerate(updates):
        clipped = clip_update(update, event.clip_norm, where=f"drawn client {client}")
        if [a.shape for a in clipped] != [s.shape for s in sums]:
            raise TrainingError(f"drawn client {client}: its update does not fit the model; train one architecture")
        for total, array in zip(sums, clipped, strict=True):
            total += array
    deviation = event.clip_norm * event.noise_multiplier
    noise = deviation * gaussian(SITE_NOISE, seed, (round_,), sum(total.size for total in sums))
    ends = np.cumsum([total.size for total in sums])[:-1]
    parts = zip(sums, np.split(noise, ends), strict=True)
    return [(total + part.reshape(total.shape)) / event.expected_batch for total, part in parts]


def clip_update(update: Sequence[Array], clip_norm: float, *, where: str = "update") -> list[FloatArray]:
    """Scale an update so that its L2 norm over all tensors together is at most ``clip_norm``.

    Raises:
        TrainingError: it is not finite.
    """
    arrays = [np.asarray(a, dtype=np.float64) for a in update]
    norm = float(np.sqrt(sum(float(np.square(a).sum()) for a in arrays)))
    if not np.isfinite(norm):
        raise TrainingError(f"{where}: its update has norm {norm}; lower learning_rate and train again")
    scale = min(1.0, clip_norm / norm) if norm > 0.0 else 1.0
    return [scale * a for a in arrays]
