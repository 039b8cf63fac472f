"""Site-level differential privacy: DP-FedAvg (McMahan et al., arXiv:1710.06963).

The server clips each client's whole update and adds noise to their sum, so that the model tells little about whether
a hospital took part at all. That is stronger than protecting a scan, and with few hospitals it costs much more noise.
It is no stronger for a patient than it says: who swaps one patient of a site that stays changes that site's update by
up to twice the clip norm.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flprivacy.core.checks import check
from flprivacy.core.errors import TrainingError
from flprivacy.privacy.events import SITE, SampledGaussianSteps
from flprivacy.privacy.randomness import SITE_NOISE, generator

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SiteLevelConfig:
    """How a server privatises a round.

    Attributes:
        clip_norm: bound on the L2 norm of a client's whole update; positive.
        noise_multiplier: noise standard deviation over ``clip_norm``; positive.
        expected_clients: clients a round on average, the fixed denominator; positive, at most ``population``.
        population: clients of the federation.
    """

    clip_norm: float
    noise_multiplier: float
    expected_clients: float
    population: int

    def __post_init__(self) -> None:
        for name in ("clip_norm", "noise_multiplier", "expected_clients"):
            check(getattr(self, name) > 0.0, name, getattr(self, name), "must be positive")
        check(
            self.expected_clients <= self.population,
            "expected_clients",
            self.expected_clients,
            f"must not exceed the {self.population} clients that there are",
        )

    def event(self, rounds: int) -> SampledGaussianSteps:
        """Return the record of ``rounds`` rounds, each client drawn with ``expected_clients / population``."""
        return SampledGaussianSteps(
            steps=rounds,
            sampling_rate=self.expected_clients / self.population,
            noise_multiplier=self.noise_multiplier,
            clip_norm=self.clip_norm,
            unit=SITE,
            population=self.population,
        )


def private_mean_update(
    updates: Iterable[Sequence[Array]],
    config: SiteLevelConfig,
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
        config: clipping, noise and denominator.
        shapes: of the model's tensors.
        seed: draws the noise; a secret (:mod:`flprivacy.privacy.randomness`).
        round_: names the noise.

    Raises:
        TrainingError: an update does not fit the model or is not finite.
    """
    sums = [np.zeros(shape) for shape in shapes]
    for client, update in enumerate(updates):
        clipped = clip_update(update, config.clip_norm, where=f"drawn client {client}")
        if [a.shape for a in clipped] != [s.shape for s in sums]:
            raise TrainingError(f"drawn client {client}: its update does not fit the model; train one architecture")
        for total, array in zip(sums, clipped, strict=True):
            total += array
    rng = generator(SITE_NOISE, seed, (round_,))
    deviation = config.clip_norm * config.noise_multiplier
    return [(total + rng.normal(0.0, deviation, total.shape)) / config.expected_clients for total in sums]


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
