"""Training of a whole grid of heads at once, from features that were computed before.

One grid is all models x attacker seeds x attributes of one exposed fraction and access. Its heads share the geometry
of their batches; a seed's exposed sample, batches and views are the same for every attribute and model.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.exposure import Exposure
from flprivacy.attacks.heads import StackedHeads, initial_weights
from flprivacy.attacks.labels import STREAMS, AttributeLabels

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Measure = Callable[[FloatArray], npt.NDArray[np.float64]]

_BATCH_STREAM, _DROPOUT_STREAM = 12, 13
# A column that varies by less than this share of its mean over the exposed sample is rounding noise.
_CONSTANT = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureTable:
    """Features of several models for the same scans.

    Attributes:
        rows: (scan,) row numbers of exposed scans, ascending.
        exposed: (model, view, scan, feature) of those rows.
        test: (model, held-out scan, feature).
    """

    rows: IntArray
    exposed: FloatArray
    test: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class GridResult:
    """What the heads of one grid say.

    Attributes:
        scores: (model, seed, attribute, held-out scan, column) after the last epoch: class probabilities, or years in
            column 0; columns beyond an attribute's own mean nothing (see :meth:`by_attribute`).
        curves: (model, seed, attribute, epoch) strength before each epoch and after the last one.
    """

    scores: FloatArray
    curves: npt.NDArray[np.float64]

    def by_attribute(self, model: int, labels: Sequence[AttributeLabels]) -> dict[str, FloatArray]:
        """Return one model's scores: attribute -> (seed, held-out scan, column)."""
        return {one.name: self.scores[model, :, a, :, : one.width] for a, one in enumerate(labels)}


class HeadGrid:
    """The heads of grids of one size: built and traced once, trained from fresh weights for every grid."""

    def __init__(
        self, config: AttackConfig, labels: Sequence[AttributeLabels], *, models: int, seeds: int, features: int
    ) -> None:
        """Build the heads for ``models`` x ``seeds`` x ``labels`` attacks on ``features`` features."""
        self._config, self._labels = config, tuple(labels)
        self.heads = StackedHeads(models=models, seeds=seeds, labels=labels, features=features, hidden=config.hidden)
        # XLA compiles longer than such a small model trains.
        self.heads.compile(optimizer=keras.optimizers.Adam(config.learning_rate), jit_compile=False)
        self.heads.optimizer.build(self.heads.trainable_variables)  # else the first step is traced twice
        self._features = features

    def train(
        self, table: FeatureTable, exposure: Exposure, measure: Measure, *, on_epoch: Callable[[], None] | None = None
    ) -> GridResult:
        """Train every head from fresh weights and score the held-out scans before each epoch and at the end.

        Args:
            table: features of the models.
            exposure: exposed samples, with as many seeds as the grid.
            measure: takes (model, seed, attribute, held-out scan, column) scores and returns (model, seed, attribute)
                strengths, the curves' points.
            on_epoch: called after each epoch.
        """
        self._reset(exposure.seeds)
        positions = np.searchsorted(table.rows, exposure.rows)
        reference = reference_sample(table, positions)
        scale = reciprocal_spread(reference)
        batches = Batches(exposure, self._labels, self._config, views=table.exposed.shape[1])
        test = {"features": table.test[:, None, None], "reference": reference, "scale": scale}
        scores, curves = self.scores(test, exposure), []
        for _ in range(self._config.epochs):
            curves.append(measure(scores))
            for batch in batches.epoch(features=self._features):
                x = {"features": batch.gather(table, positions), "scale": scale, **batch.keep}
                self.heads.train_on_batch(x, batch.y)
            scores = self.scores(test, exposure)
            if on_epoch:
                on_epoch()
        return GridResult(scores=scores, curves=np.stack([*curves, measure(scores)], axis=-1))

    def _reset(self, seeds: tuple[int, ...]) -> None:
        heads, labels = self.heads, self._labels
        kernels = initial_weights(labels, seeds=seeds, features=self._features, hidden=self._config.hidden)
        starts: dict[int, Any] = {
            id(heads.dense_hidden.kernel): kernels["hidden"],
            id(heads.dense_out.kernel): kernels["out"],
        }
        starts |= {id(norm.gamma): 1.0 for norm in (heads.norm_features, heads.norm_hidden)}
        for weight in heads.weights:
            weight.assign(np.broadcast_to(np.float32(starts.get(id(weight), 0.0)), weight.shape))
        reset_optimizer(heads.optimizer)

    def scores(self, test: dict[str, FloatArray], exposure: Exposure) -> FloatArray:
        """Return (model, seed, attribute, scan, column) scores of the heads as they are; ``test`` is their input."""
        scores = self.heads.scores_of(np.asarray(self.heads.predict_on_batch(test)))
        return in_years(scores, exposure, self._labels)


def in_years(scores: FloatArray, exposure: Exposure, labels: Sequence[AttributeLabels]) -> FloatArray:
    """Return (model, seed, attribute, scan, column) scores with standardised ages turned into years.

    No answer lies outside the ages of the exposed sample, as no careful attacker's would.
    """
    years = np.array([one.regression for one in labels])[:, None, None]
    spread, centre = exposure.spread[..., None, None], exposure.centre[..., None, None]
    lowest, highest = (bound(exposure.targets, axis=-1)[..., None, None] for bound in (np.min, np.max))
    return np.where(years, np.clip(scores, lowest, highest) * spread + centre, scores)


def reset_optimizer(optimizer: Any) -> None:
    """Forget moments and step count, so that a traced optimizer starts afresh."""
    for variable in optimizer.variables:
        if not variable.path.endswith("learning_rate"):
            variable.assign(np.zeros(variable.shape, variable.dtype))


def reference_sample(table: FeatureTable, positions: IntArray) -> FloatArray:
    """Return (model, seed, 1, view * scan, feature): every seed's exposed sample in all views.

    Args:
        table: features.
        positions: (seed, scan) positions of the exposed scans in ``table.rows``.
    """
    views = table.exposed[:, :, positions]  # (model, view, seed, scan, feature)
    models, n_views, seeds, scans, width = views.shape
    return np.moveaxis(views, 2, 1).reshape(models, seeds, 1, n_views * scans, width)


def reciprocal_spread(reference: FloatArray) -> FloatArray:
    """Return (model, seed, 1, 1, feature) factors that bring features to unit variance over the exposed sample.

    A feature that does not vary there gets 0: nothing can be learnt from it, and its held-out values could be
    anything.
    """
    mean = reference.mean(axis=-2, keepdims=True)
    spread = reference.std(axis=-2, keepdims=True)
    varies = spread > _CONSTANT * np.abs(mean)
    return np.where(varies, 1.0 / np.where(varies, spread, 1.0), 0.0).astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One step of every head: which scans and views, their targets and the dropout masks."""

    scans: IntArray  # (seed, scan) positions in the exposed sample
    views: IntArray  # (seed, scan)
    y: dict[str, FloatArray]  # targets and weights, (1, seed, attribute, scan)
    keep: dict[str, npt.NDArray[np.uint8]]  # dropout masks, (1, seed, attribute, scan, unit)

    def gather(self, table: FeatureTable, positions: IntArray) -> FloatArray:
        """Return (model, seed, 1, scan, feature) of the batch."""
        rows = np.take_along_axis(positions, self.scans, axis=1)
        return table.exposed[:, self.views, rows][:, :, None]


class Batches:
    """Every seed's stream of batches and every head's stream of dropout masks."""

    def __init__(
        self, exposure: Exposure, labels: Sequence[AttributeLabels], config: AttackConfig, *, views: int
    ) -> None:
        """Start the streams of the seeds and heads of ``exposure``; each depends on its own names alone."""
        self._exposure, self._config, self._views = exposure, config, views
        self._orders = [np.random.default_rng([_BATCH_STREAM, seed]) for seed in exposure.seeds]
        self._masks = [
            [np.random.default_rng([_DROPOUT_STREAM, STREAMS[one.name], seed]) for one in labels]
            for seed in exposure.seeds
        ]

    def epoch(self, *, features: int) -> Iterator[Batch]:
        """Yield the batches of one pass over the exposed samples."""
        n = self._exposure.rows.shape[1]
        orders = np.stack([equal_batches(n, self._config.batch_size, rng) for rng in self._orders])
        views = np.stack([rng.integers(self._views, size=orders.shape[1:]) for rng in self._orders])
        for step in range(orders.shape[1]):
            yield self._batch(orders[:, step], views[:, step], features)

    def _batch(self, scans: IntArray, views: IntArray, features: int) -> Batch:
        index = np.broadcast_to(scans[:, None], (*self._exposure.targets.shape[:2], scans.shape[1]))
        y = {
            "targets": np.take_along_axis(self._exposure.targets, index, axis=2)[None],
            "weights": np.take_along_axis(self._exposure.weights, index, axis=2)[None],
        }
        keep = {
            "keep_features": self._draw((scans.shape[1], features)),
            "keep_hidden": self._draw((scans.shape[1], self._config.hidden)),
        }
        return Batch(scans=scans, views=views, y=y, keep=keep)

    def _draw(self, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
        return np.stack([np.stack([random_bits(rng, shape) for rng in row]) for row in self._masks])[None]


def equal_batches(n: int, batch_size: int, rng: np.random.Generator) -> IntArray:
    """Return (step, scan) positions of one pass in random order, in batches of equal size.

    There are ``ceil(n / batch_size)`` steps of ``ceil(n / steps)`` scans; the last one wraps around to the scans of
    the first, so that none is left out as the reference study's last partial batch was.
    """
    steps = math.ceil(n / batch_size)
    return np.resize(rng.permutation(n), (steps, math.ceil(n / steps)))


def random_bits(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return fair random bits as 0 and 1."""
    count = math.prod(shape)
    packed = np.frombuffer(rng.bytes(math.ceil(count / 8)), dtype=np.uint8)
    return np.unpackbits(packed, count=count).reshape(shape)
