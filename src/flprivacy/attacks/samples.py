"""What the attacker of one seed learns from: labels of the exposed scans, and the order in which they are seen."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.config import LearnerConfig
from flprivacy.attacks.heads import KEEP, Batch, Head
from flprivacy.core.array_types import Float32Array, FloatArray, IntArray

# The reference study balances fully (1). With heavy-tailed sites, an attacker who does so and knows little guesses
# worse than the majority by weighted F1; half-way is stronger by weighted F1 and no weaker by macro F1.
BALANCE = 0.5
_BATCH_STREAM, _DROPOUT_STREAM = 12, 13
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
_FACTORS = (_BITS / KEEP).astype(np.float32)  # (byte, bit) dropout factors


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """What the attacker of one seed knows of the exposed scans."""

    seed: int
    heads: tuple[Head, ...]
    targets: Float32Array  # (head, scan) class index, or years standardised by centre and spread; 0 where unknown
    weights: Float32Array  # (head, scan) of class_weights, 1 for years, 0 where unknown; sum: scans with a value
    centre: Float32Array  # (head,) mean of the exposed years; 0 for classes
    spread: Float32Array  # (head,) their standard deviation; 1 for classes

    @classmethod
    def of(cls, heads: Sequence[Head], values: FloatArray, *, seed: int) -> "Sample":
        """Return the sample with labels ``values``, (head, scan), NaN where unknown."""
        weights = np.zeros(values.shape, np.float32)
        centre, spread = np.zeros(len(heads), np.float32), np.ones(len(heads), np.float32)
        for a, head in enumerate(heads):
            if head.attribute.is_regression:
                centre[a], spread[a] = np.nanmean(values[a]), np.nanstd(values[a])
                weights[a] = ~np.isnan(values[a])
            else:
                weights[a] = class_weights(values[a], head.width)
        targets = np.nan_to_num((values - centre[:, None]) / spread[:, None]).astype(np.float32)
        return cls(seed=seed, heads=tuple(heads), targets=targets, weights=weights, centre=centre, spread=spread)

    def in_units(self, scores: Float32Array) -> Float32Array:
        """Return (head, scan, column) scores with standardised numbers turned into years.

        No answer lies outside the ages of the exposed sample, as no careful attacker's would.
        """
        numbers = np.array([head.attribute.is_regression for head in self.heads])[:, None, None]
        lowest, highest = (bound(self.targets, axis=-1)[:, None, None] for bound in (np.min, np.max))
        years = np.clip(scores, lowest, highest) * self.spread[:, None, None] + self.centre[:, None, None]
        return np.where(numbers, years, scores)


def class_weights(values: FloatArray, n_classes: int, *, balance: float = BALANCE) -> FloatArray:
    """Weigh scans, (scan,) class index or NaN, by ``class size ** -balance``; the sum is the number that have a class.

    A ``balance`` of 0 weighs all scans alike, 1 all classes alike.
    """
    known = ~np.isnan(values)
    index = values[known].astype(np.int64)
    sizes = np.bincount(index, minlength=n_classes)[index].astype(np.float64)
    weights = np.zeros(len(values))
    weights[known] = sizes**-balance * known.sum() / (sizes**-balance).sum()
    return weights


class Batches:
    """A seed's stream of batches and every head's stream of dropout masks; each depends on its own name alone."""

    def __init__(self, sample: Sample, config: LearnerConfig, *, views: int) -> None:
        """Start the streams of the sample's seed and heads."""
        self._sample, self._config, self._views = sample, config, views
        self._order = np.random.default_rng([_BATCH_STREAM, sample.seed])
        self._masks = [np.random.default_rng([_DROPOUT_STREAM, head.stream, sample.seed]) for head in sample.heads]

    def epoch(self, *, features: int) -> Iterator[tuple[IntArray, IntArray, Batch]]:
        """Yield (scan,) positions in the exposed sample, their views and the rest of each batch of one pass."""
        sample = self._sample
        orders = equal_batches(sample.targets.shape[1], self._config.batch_size, self._order)
        views = self._order.integers(self._views, size=orders.shape)
        shapes = ((orders.shape[1], features), (orders.shape[1], self._config.hidden))
        layers = zip(*(random_bits(rng, len(orders), shapes) for rng in self._masks), strict=True)
        bits = [np.stack(layer) for layer in layers]  # of each layer (head, step, byte)
        for step, scans in enumerate(orders):
            keep_features, keep_hidden = (
                _as_factors(bytes_[:, step], shape) for bytes_, shape in zip(bits, shapes, strict=True)
            )
            batch = Batch(
                targets=sample.targets[:, scans],
                weights=sample.weights[:, scans],
                keep_features=keep_features,
                keep_hidden=keep_hidden,
            )
            yield scans, views[step], batch


def equal_batches(n: int, batch_size: int, rng: np.random.Generator) -> IntArray:
    """Return (step, scan) positions of one pass in random order, in batches of equal size.

    There are ``ceil(n / batch_size)`` steps of ``ceil(n / steps)`` scans; the last one wraps around to the scans of
    the first, so that none is left out as the reference study's last partial batch was.
    """
    steps = math.ceil(n / batch_size)
    return np.resize(rng.permutation(n), (steps, math.ceil(n / steps)))


def random_bits(rng: np.random.Generator, steps: int, shapes: Sequence[tuple[int, int]]) -> list[npt.NDArray[np.uint8]]:
    """Draw packed fair bits for arrays of ``shapes``, (step, byte) each; as ``rng.bytes``, array by array, would."""
    sizes = [math.ceil(math.prod(shape) / 8) for shape in shapes]
    words = [math.ceil(size / 4) for size in sizes]  # rng.bytes draws whole words
    drawn = rng.integers(1 << 32, size=(steps, sum(words)), dtype=np.uint32).astype("<u4")
    parts = np.split(drawn, np.cumsum(words)[:-1], axis=1)
    return [np.ascontiguousarray(part).view(np.uint8)[:, :size] for part, size in zip(parts, sizes, strict=True)]


def _as_factors(packed: npt.NDArray[np.uint8], shape: tuple[int, int]) -> Float32Array:
    """Turn packed bits (head, byte) into dropout factors (head, *shape)."""
    factors = np.take(_FACTORS, packed, axis=0, mode="clip").reshape(len(packed), -1)
    return factors[:, : math.prod(shape)].reshape(len(packed), *shape)
