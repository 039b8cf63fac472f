"""Local training: one compiled model that trains on one client's scans after another's."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np

from flprivacy.core.array_types import Array
from flprivacy.core.errors import TrainingError
from flprivacy.training.config import TargetConfig
from flprivacy.training.draws import Place
from flprivacy.training.method import Method
from flprivacy.training.pool import Indices, Pool

_FIRST = Place()


class Pass(NamedTuple):
    """Mean loss and accuracy over one pass, each scan before the update that it took part in, and its steps."""

    loss: float
    accuracy: float
    steps: int


class Learner:
    """A model with its compiled step, reused for every client so that nothing is traced twice.

    :meth:`start` sets its whole state, so that what a client learns does not depend on who trained before.
    """

    def __init__(self, model: keras.Model, method: Method, config: TargetConfig) -> None:
        """Compile ``model`` with ``method``."""
        self.model = model
        self._method = method
        self._config = config
        self._step = method.compile(model, config)
        self._weights = list(model.weights)
        known = {id(v) for v in self._weights}
        self._generators = [v for v in model.variables if id(v) not in known]
        self._optimizer = list(self._step.optimizer.variables)
        self._memory = self._step.memory
        self._fresh = _values([*self._optimizer, *self._memory])

    def start(self, weights: Sequence[Array], generator: np.random.Generator) -> None:
        """Set the weights, forget what the optimizer remembers and seed random layers from ``generator``."""
        seeds = [generator.integers(2**31, size=v.shape).astype(v.dtype) for v in self._generators]
        self.restore([*weights, *seeds, *self._fresh])

    def weights(self) -> list[Array]:
        """Return a copy of the weights, trainable or not, in the model's order."""
        return _values(self._weights)

    def state(self) -> list[Array]:
        """Return a copy of everything that further training depends on."""
        return _values([*self._weights, *self._generators, *self._optimizer, *self._memory])

    def memory(self) -> list[Array]:
        """Return a copy of what the method remembers beside weights and optimizer; nothing for plain training."""
        return _values(self._memory)

    @property
    def keeps_losses(self) -> bool:
        """Whether losses may be kept with the model."""
        return self._method.keeps_losses

    def steps(self, n: int, client: int) -> int:
        """Return the optimisation steps of one pass over a client's ``n`` scans."""
        return self._method.steps(n, self._config.batch_size, client)

    def restore(self, state: Sequence[Array]) -> None:
        """Set what :meth:`state` returned.

        Raises:
            TrainingError: the arrays are not those of this model and method.
        """
        variables = [*self._weights, *self._generators, *self._optimizer, *self._memory]
        if [tuple(v.shape) for v in variables] != [np.shape(a) for a in state]:
            raise TrainingError(
                "the state to train on from does not fit the model; delete the checkpoint and train again"
            )
        for variable, value in zip(variables, state, strict=True):
            variable.assign(value)

    def train_epoch(
        self,
        pool: Pool,
        indices: Indices,
        *,
        view: int,
        generator: np.random.Generator,
        advance: Callable[[], None],
        where: str,
        place: Place = _FIRST,
    ) -> Pass:
        """Pass once over a client's scans, (n,) indices into the pool, in their augmented view number ``view``.

        Where the configuration does not augment, they are seen as they are scored.

        ``generator`` and ``place`` draw the batches; ``where`` says who trains, for the error's message.

        Raises:
            TrainingError: the loss is no longer finite.
        """
        totals, size, steps = np.zeros(3), 0.0, 0
        seen_view = view if self._config.augment else None
        for batch in self._method.batches(len(indices), self._config.batch_size, generator, place):
            scans = indices[batch.indices]
            result = self._step.run(pool.view(scans, seen_view), pool.one_hot(scans), batch, pool.keys[scans])
            size += float(batch.weights.sum())
            if result is None:
                continue
            loss, accuracy = result
            if not math.isfinite(loss):
                raise TrainingError(
                    f"{where}: the loss became {loss} in epoch {view + 1}, "
                    f"at learning_rate {self._config.learning_rate:g} and batch_size {self._config.batch_size}; "
                    "lower learning_rate or raise batch_size"
                )
            totals += (loss * size, accuracy * size, size)
            size, steps = 0.0, steps + 1
            advance()
        seen = totals[2] or 1.0  # a private pass may draw nobody
        return Pass(loss=float(totals[0] / seen), accuracy=float(totals[1] / seen), steps=steps)


def _values(variables: Sequence[keras.Variable]) -> list[Array]:
    return [v.numpy() for v in variables]
