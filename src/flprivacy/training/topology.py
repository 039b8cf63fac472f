"""What every topology is given and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from flprivacy.core.cohort import Cohort
from flprivacy.training.checkpoint import Checkpoints, History
from flprivacy.training.config import TargetConfig
from flprivacy.training.gradient_canaries import GradientCanaries
from flprivacy.training.local import Learner, Pass
from flprivacy.training.pool import Indices, Pool
from flprivacy.training.private_run import PrivateRun
from flprivacy.training.synthetic import SyntheticScans

Weights = list[npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One training run.

    Attributes:
        learner: the one compiled model that everybody trains.
        initial_weights: number of a model -> its fresh weights.
        checkpoints: where to carry on from.
        private: the plan of private training; None where training is not private.
        members: indices into the pool that central training is on; None for all (canaries leave some out).
        canaries: gradient canaries among the units; None for none.
        synthetic: synthetic scans behind the real ones in the pool; None for none.
    """

    name: str
    config: TargetConfig
    cohort: Cohort
    pool: Pool
    learner: Learner
    initial_weights: Callable[[int], Weights]
    checkpoints: Checkpoints
    private: PrivateRun | None = None
    members: Indices | None = None
    canaries: GradientCanaries | None = None
    synthetic: SyntheticScans | None = None

    @property
    def real(self) -> Indices:
        """Indices into the pool of all real training scans."""
        return np.arange(len(self.pool.labels) if self.synthetic is None else self.synthetic.first)

    def trained_on(self, parts: tuple[Indices, ...]) -> tuple[Indices, ...]:
        """Return the scans that each client trains on, for the real ones that it holds; both index into the pool.

        Raises:
            TrainingError: a client has none.
        """
        if self.synthetic is None:
            return parts
        return self.synthetic.beside(parts, self.config)

    @property
    def site_level(self) -> bool:
        """Whether sites are protected, by clipping and noising their updates."""
        return self.private is not None and self.private.site_level

    @property
    def epochs(self) -> int:
        """Epochs to train, fewer than configured where private training stops early."""
        return self._until(self.config.epochs)

    @property
    def rounds(self) -> int:
        """FedAvg rounds to do, fewer than configured where private training stops early."""
        return self._until(self.config.rounds)

    def entry(self, facts: dict[str, float], result: Pass) -> dict[str, float]:
        """Return one entry of the history. Losses of private training are no part of it: they are not private."""
        if self.private is not None or not self.learner.keeps_losses:
            return facts
        return facts | {"loss": result.loss, "accuracy": result.accuracy}

    def _until(self, configured: int) -> int:
        stop = self.private.config.stop_after if self.private else None
        return configured if stop is None else min(configured, stop)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedModel:
    """One model that a topology releases: ``model``, ``site-03`` or ``init-2``.

    Attributes:
        weights: in the order of the Keras model's weights.
        members: indices into the pool of the real scans that it was trained on, ascending; of one trained on synthetic
            scans alone those of whom its generator learnt what its clients hold.
        history: loss and accuracy, one entry an epoch or round.
        steps: client number -> optimisation steps done on its scans.
        memory: what the method remembers beside the weights (canary scores); empty for plain training.
    """

    name: str
    weights: Weights
    members: Indices
    history: History
    steps: dict[int, int] = field(default_factory=dict)
    memory: list[npt.NDArray[Any]] = field(default_factory=list)
