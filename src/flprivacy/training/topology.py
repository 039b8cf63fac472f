"""What every topology is given and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from flprivacy.core.cohort import Cohort
from flprivacy.core.config import TargetConfig
from flprivacy.training.checkpoint import Checkpoints, History
from flprivacy.training.local import Learner
from flprivacy.training.pool import Indices, Pool

Weights = list[npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One training run.

    Attributes:
        name: the target's name, for progress.
        config: how to train.
        cohort: says which site holds which scans.
        pool: the training scans.
        learner: the one compiled model that everybody trains.
        initial_weights: number of a model -> its fresh weights.
        checkpoints: where to carry on from.
    """

    name: str
    config: TargetConfig
    cohort: Cohort
    pool: Pool
    learner: Learner
    initial_weights: Callable[[int], Weights]
    checkpoints: Checkpoints


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedModel:
    """One model that a topology releases.

    Attributes:
        name: ``model``, ``site-03`` or ``init-2``.
        weights: in the order of the Keras model's weights.
        members: indices into the pool of the scans that it was trained on, ascending.
        history: loss and accuracy, one entry an epoch or round.
    """

    name: str
    weights: Weights
    members: Indices
    history: History
