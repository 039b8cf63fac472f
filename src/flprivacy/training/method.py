"""A training method: how a client's scans become updates of its weights.

A topology says who trains when and on what; the method says what one optimisation step does. DP-SGD is another
method (Poisson batches, and per-example clipping and noise inside its compiled step), not another topology.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from flprivacy.training.batches import Batch, steps_per_epoch
from flprivacy.training.config import TargetConfig
from flprivacy.training.place import Place

FloatArray = npt.NDArray[np.float32]


class StepResult(NamedTuple):
    """Loss and accuracy of one step's scans before the update, weighted by the loss weights."""

    loss: float
    accuracy: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """A compiled optimisation step on one model.

    Attributes:
        run: (volumes (batch, depth, height, width, 1), classes (batch, class) one-hot, the batch) -> result; updates
            the model in place. Called with one batch size only, so that it is traced once. None: the step goes on
            with the next batch.
        optimizer: built; whatever it remembers between steps is in its variables.
        memory: what else the step remembers; kept with checkpoints, and with the model when it is trained.
    """

    run: Callable[[FloatArray, FloatArray, Batch], StepResult | None]
    optimizer: keras.optimizers.Optimizer
    memory: list[keras.Variable] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way of training.

    Attributes:
        name: tells this method from others in checkpoints; names every choice that changes the result.
        compile: (model, config) -> step.
        batches: (number of scans, batch size, generator, place) -> the batches of one epoch.
        steps: (number of scans, batch size, client) -> optimisation steps of one epoch.
        keeps_losses: whether losses may be kept with the model; those of private training tell about its scans.
    """

    name: str
    compile: Callable[[keras.Model, TargetConfig], Step]
    batches: Callable[[int, int, np.random.Generator, Place], Iterator[Batch]]
    steps: Callable[[int, int, int], int] = steps_per_epoch
    keeps_losses: bool = True
