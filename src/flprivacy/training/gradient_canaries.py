"""Canaries in gradient space: units whose gradient points along one weight of their own (arXiv:2302.07956).

Nothing a scan could do to the weights shows better. With plain gradient descent the weight's way from start to end is
the sum of the steps' noised updates, so that a canary's participation is read off the released weights.
"""

from dataclasses import dataclass

import keras
import numpy as np

from flprivacy.core.array_types import Array, BoolArray, Float32Array, FloatArray, IntArray
from flprivacy.core.errors import TrainingError
from flprivacy.training.config import CanaryConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class GradientCanaries:
    """Gradient canaries of one model.

    Attributes:
        included: (canary,) whether its coin put it in.
        places: (canary,) the weight of each, a position in all trainable weights laid end to end.
        signs: (canary,) 1 or -1, the direction of its gradient.
        lengths: (canary,) L2 norm of its gradient before clipping.
        clients: that share them.
    """

    included: BoolArray
    places: IntArray
    signs: Float32Array
    lengths: Float32Array
    clients: int = 1

    @property
    def count(self) -> int:
        """Canaries that are in."""
        return int(self.included.sum())

    def at(self, client: int) -> BoolArray:
        """Return (canary,) whether a client would hold it; they are dealt out one by one."""
        return np.equal(np.arange(len(self.included)) % self.clients, client)

    def inside(self, client: int) -> IntArray:
        """Return the canaries that are in at a client, in the order of its units behind the scans."""
        return np.flatnonzero(self.included & self.at(client))

    def gradient(self, canary: int, model: keras.Model) -> list[Float32Array]:
        """Return the gradient of a canary, one array a trainable tensor."""
        shapes = [tuple(v.shape) for v in model.trainable_variables]
        flat = np.zeros(sum(int(np.prod(s)) for s in shapes), dtype=np.float32)
        flat[self.places[canary]] = self.signs[canary] * self.lengths[canary]
        ends = np.cumsum([int(np.prod(s)) for s in shapes])
        return [part.reshape(s) for part, s in zip(np.split(flat, ends[:-1]), shapes, strict=True)]

    def memory(self, phases: int) -> list[keras.Variable]:
        """Return what gathers the canaries' marks: (step within a pass, canary)."""
        zeros = np.zeros((phases, len(self.included)), dtype=np.float32)
        return [keras.Variable(zeros, trainable=False, name="canary_marks")]

    def look(self, model: keras.Model) -> Float32Array:
        """Return (canary,) the weight of each canary."""
        weights = np.concatenate([np.asarray(keras.ops.convert_to_numpy(v)).ravel() for v in model.trainable_variables])
        return np.asarray(weights[self.places], dtype=np.float32)

    def remember(self, memory: list[keras.Variable], moved: Float32Array, *, client: int, phase: int) -> None:
        """Add what one step left in the weights of a client's canaries, (canary,) in units of the clip norm.

        ``phase`` is the number of the step within its pass.
        """
        marks = np.array(keras.ops.convert_to_numpy(memory[0]))
        marks[phase] += self.at(client) * self.signs * moved
        memory[0].assign(marks)

    def update(self, canary: int, model: keras.Model) -> list[Float32Array]:
        """Return what a site that is a canary would add to the weights, one array a weight: against its gradient."""
        against = {id(v): -g for v, g in zip(model.trainable_variables, self.gradient(canary, model), strict=True)}
        return [against.get(id(v), np.zeros(v.shape, dtype=np.float32)) for v in model.weights]

    def scores(self, marks: Array) -> dict[str, FloatArray]:
        """Return score name -> (canary,) scores, higher for likelier in.

        ``released`` is the mark in the released weights alone: the sum over all steps. ``same-step`` is for an
        observer of every step who suspects that a unit always takes part in the same step of a pass: the largest sum
        over such steps.
        """
        by_phase = np.asarray(marks, dtype=np.float64)
        return {"released": by_phase.sum(axis=0), "same-step": by_phase.max(axis=0)}


def gradient_canaries(
    config: CanaryConfig, model: keras.Model, *, clip_norm: float, clients: int = 1
) -> GradientCanaries:
    """Draw the gradient canaries of a model, on weights of its kernels.

    Raises:
        TrainingError: the model has fewer such weights than there are canaries.
    """
    rng = np.random.default_rng([7, config.seed])
    sizes = [int(np.prod(v.shape)) for v in model.trainable_variables]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    kernels = [
        np.arange(start, start + size)
        for start, size, v in zip(starts.tolist(), sizes, model.trainable_variables, strict=True)
        if len(v.shape) > 1
    ]
    candidates = np.concatenate(kernels) if kernels else np.empty(0, dtype=np.int64)
    if len(candidates) < config.count:
        raise TrainingError(
            f"{config.count} gradient canaries for {len(candidates)} weights; lower canaries.count or train a larger "
            "network"
        )
    return GradientCanaries(
        included=rng.random(config.count) < 0.5,
        places=rng.choice(candidates, size=config.count, replace=False),
        signs=rng.choice([-1.0, 1.0], size=config.count).astype(np.float32),
        lengths=np.full(config.count, config.norm * clip_norm, dtype=np.float32),
        clients=clients,
    )
