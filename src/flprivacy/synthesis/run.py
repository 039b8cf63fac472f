"""One run of training a generator: what every topology is given and what it gives back."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flprivacy.core.array_types import Array, Float32Array
from flprivacy.core.cohort import Cohort
from flprivacy.synthesis.adversaries import Adversaries
from flprivacy.synthesis.conditions import Categories, Conditions
from flprivacy.synthesis.config import GeneratorConfig
from flprivacy.synthesis.private import PrivateDiscriminator
from flprivacy.training.checkpoint import Checkpoints, History
from flprivacy.training.pool import Indices, Pool


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneratorRun:
    """One training run.

    Attributes:
        pool: the training scans.
        conditions: of each of them.
        adversaries: the one pair of networks that everybody trains.
        samples: folder of the grids of samples that are written as it learns.
        private: the discriminator's private updates; None where training is not private.
    """

    config: GeneratorConfig
    cohort: Cohort
    pool: Pool
    categories: Categories
    conditions: Conditions
    adversaries: Adversaries
    checkpoints: Checkpoints
    samples: Path
    private: PrivateDiscriminator | None = None

    def real(self, indices: Indices) -> Float32Array:
        """Return training scans as the networks see them, float32 (k, depth, height, width, 1) in [-1, 1]."""
        return self.pool.view(indices, None) * np.float32(2.0) - np.float32(1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedGenerator:
    """What a topology gives back.

    Attributes:
        weights: of generator and discriminator, and the running sums of the generator's (:class:`Adversaries`).
        updates: of the generator; of each site's, where it is federated.
        history: losses and logits, an entry a checkpoint.
        steps: client number -> private steps done on its scans.
    """

    weights: list[Array]
    updates: int
    history: History
    steps: dict[int, int] = field(default_factory=dict)
