"""The private method: Poisson-sampled, clipped and noised steps of any client, inside one compiled function.

What a step does to gradients is :class:`flprivacy.privacy.gradients.DpSgdRule`; who takes part is
:mod:`flprivacy.privacy.sampling`. Both are passed in, so that a test can put a broken one in their place.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import keras
import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import Float32Array
from flprivacy.core.errors import TrainingError
from flprivacy.privacy.events import PATIENT
from flprivacy.privacy.gradients import DpSgdRule
from flprivacy.privacy.sampling import Chunk
from flprivacy.training.config import TargetConfig
from flprivacy.training.draws import Place
from flprivacy.training.gradient_canaries import GradientCanaries
from flprivacy.training.method import Batch, Keys, Method, Step, StepResult
from flprivacy.training.private_run import PrivateRun, draw_chunks

Indices = npt.NDArray[np.int64]


MakeRule = Callable[..., DpSgdRule]
DrawChunks = Callable[[PrivateRun, int, int, tuple[int, ...]], Iterator[Chunk]]
"""(run, number of units, physical batch, (client, round, epoch, step)) -> the chunks of one step"""


@dataclass(frozen=True, kw_only=True, eq=False)
class PrivateBatch(Batch):
    """A chunk of one private step, which ``key`` (client, round, epoch, step) names; ``last`` completes it.

    ``ends`` is (batch,) 1 where a patient's last scan stands; ``canaries`` are the gradient canaries drawn in it.
    """

    ends: npt.NDArray[np.float32]
    key: tuple[int, ...]
    last: bool
    canaries: Indices


def dp_sgd(
    run: PrivateRun,
    canaries: GradientCanaries | None = None,
    *,
    make_rule: MakeRule = DpSgdRule,
    chunks: DrawChunks = draw_chunks,
) -> Method:
    """Return the method that trains with DP-SGD (arXiv:1607.00133).

    ``make_rule`` is (model, optimizer, DpSgdConfig, seed=...) -> rule; ``chunks`` draws who takes part in a step.
    """
    physical = run.physical_batch()

    def compile_private(model: keras.Model, config: TargetConfig) -> Step:
        optimizer = _optimizer(run, config)
        rule = _checked_rule(make_rule, model, optimizer, config, run)
        memory = canaries.memory(max(e.steps_per_pass for e in run.events.values())) if canaries else []
        step = _PrivateStep(run, rule, model, canaries, memory, learning_rate=config.learning_rate)
        return Step(run=step.run, optimizer=optimizer, memory=memory)

    def batches(n: int, batch_size: int, generator: np.random.Generator, place: Place) -> Iterator[Batch]:
        for number in range(run.events[place.client].steps_per_pass):
            key = (*place, number)
            for chunk in chunks(run, n, physical, key):
                yield _batch(chunk, key, run.first_canary.get(place.client))

    return Method(
        name=f"dp-sgd/{run.config.optimizer}",
        compile=compile_private,
        batches=batches,
        steps=lambda n, batch_size, client: run.events[client].steps_per_pass,
        keeps_losses=False,
    )


class _PrivateStep:
    """Feeds chunks to the rule, canaries among them, and watches what canaries leave in the weights."""

    def __init__(
        self,
        run: PrivateRun,
        rule: DpSgdRule,
        model: keras.Model,
        canaries: GradientCanaries | None,
        memory: list[keras.Variable],
        *,
        learning_rate: float,
    ) -> None:
        self._run, self._rule, self._model = run, rule, model
        self._canaries, self._memory = canaries, memory
        self._learning_rate = learning_rate
        self._begun: tuple[int, ...] | None = None

    def run(self, volumes: Float32Array, classes: Float32Array, batch: Batch, keys: Keys) -> StepResult | None:
        draw = cast(PrivateBatch, batch)
        event = self._run.events[draw.key[0]]
        if self._begun != draw.key:
            self._begun = draw.key
            self._rule.serve(noise_multiplier=event.noise_multiplier, expected_batch=event.expected_batch)
        if self._canaries is not None:
            inside = self._canaries.inside(draw.key[0])
            for canary in inside[draw.canaries].tolist():
                self._rule.contribute(self._canaries.gradient(canary, self._model))
        before = self._canaries.look(self._model) if self._canaries and draw.last else None
        ends = draw.ends if self._run.config.unit == PATIENT else None
        result = self._rule.step(volumes, classes, draw.weights, key=draw.key, scans=keys, ends=ends, last=draw.last)
        if result is None:
            return None
        self._begun = None
        if self._canaries is not None and before is not None:
            # What one participation leaves, clipped to the clip norm, is 1.
            unit = self._learning_rate * event.clip_norm / event.expected_batch
            moved = (before - self._canaries.look(self._model)) / unit
            self._canaries.remember(self._memory, moved, client=draw.key[0], phase=draw.key[-1])
        return StepResult(loss=result.loss, accuracy=result.accuracy)


def _batch(chunk: Chunk, key: tuple[int, ...], first_canary: int | None) -> PrivateBatch:
    drawn = chunk.mask > 0.0
    is_canary = np.zeros_like(drawn) if first_canary is None else drawn & (chunk.indices >= first_canary)
    canaries = chunk.indices[is_canary] - (first_canary or 0)
    keep = (~is_canary).astype(np.float32)
    return PrivateBatch(
        indices=np.where(is_canary, 0, chunk.indices),
        weights=chunk.mask * keep,
        ends=chunk.ends * keep,
        key=key,
        last=chunk.last,
        canaries=canaries,
    )


def _optimizer(run: PrivateRun, config: TargetConfig) -> keras.optimizers.Optimizer:
    kinds = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}
    return kinds[run.config.optimizer](learning_rate=config.learning_rate)


def _checked_rule(
    make_rule: MakeRule,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    config: TargetConfig,
    run: PrivateRun,
) -> DpSgdRule:
    try:
        return make_rule(model, optimizer, run.settings(), seed=run.seed)
    except TrainingError as error:
        raise TrainingError(
            f"architecture {config.architecture!r} cannot be trained privately: {error}; among the registered ones "
            "cnn3d_small can"
        ) from error
