"""The attack's heads: one for each attribute, trained together on the features of one model for one attacker seed.

A head is the reference study's - features -> BatchNorm, Dropout .5, ReLU, Dense, BatchNorm, Dropout .5, ReLU, Dense -
with a shortcut: a linear map from the normalised features to the logits. The differences make the attacker stronger
or leave it as it is:

- The shortcut, which starts at zero, learns within the few steps of an attack on some hundred exposed scans; the
  reference's head alone does not, as half of what it is given is cut off by the first ReLU and half dropped.
- Features come scaled to unit variance over the exposed sample, so that the normalisation's epsilon (1e-3) does not
  silence a trunk whose features are small, such as an untrained one's.
- A normalised unit is cut off at 6 standard deviations: a unit that was almost always silent over the exposed sample
  would otherwise throw a held-out scan in which it is not to any answer (and an age to thousands of years).
- Scoring normalises with the exposed sample's exact statistics, where a moving average of momentum .99 would still
  hold a fifth to four fifths of its initial (0, 1) after the 20 to 160 steps of an attack.
- Dropout's random bits come from outside, one stream a head, so that a head does not depend on its neighbours.

Everything is numpy in float32, forward and backward: a head is so small that a framework spends its time on calls.
Arrays have a leading axis, the head; no operation mixes two heads.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from flprivacy.attacks.family.problem import softmax
from flprivacy.core.array_types import BoolArray, Float32Array
from flprivacy.core.attributes import BY_NAME, Attribute

KEEP = 0.5  # dropout keeps a unit with this probability: one random bit a unit
EPSILON = 1e-3  # of batch normalisation, as in Keras and the reference study
_FARTHEST = 6.0  # standard deviations of the exposed sample that a normalised unit may lie from its mean
_HUBER_DELTA = 1.0  # in standard deviations of the exposed ages
_MASKED = -1e9  # logit of a column that a head does not have
_INIT_STREAM = 11
_CHUNK = 128  # scans scored at once: what they need fits a core's cache
_DECAY_1, _DECAY_2, _ADAM_EPSILON = 0.9, 0.999, 1e-7  # Adam's, as in Keras


@dataclass(frozen=True, kw_only=True)
class Head:
    """What one head learns."""

    attribute: Attribute
    n_classes: int  # 0 for years

    @property
    def width(self) -> int:
        """Number of score columns: the classes, or 1 for years."""
        return max(1, self.n_classes)

    @property
    def stream(self) -> int:
        """Number that names its random streams, together with the attacker seed."""
        return tuple(BY_NAME).index(self.attribute.name)


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """What a training step of the heads needs to know of its scans, besides their features."""

    targets: Float32Array  # (head, scan) class index or standardised years; 0 where unknown
    weights: Float32Array  # (head, scan) of the losses; 0 where unknown
    keep_features: Float32Array  # (head, scan, feature) 1 / KEEP where dropout keeps a feature, else 0
    keep_hidden: Float32Array  # (head, scan, hidden unit) the same


class Parameters:
    """The weights of all heads, or their gradients: contiguous stacks that are views of one flat array."""

    def __init__(self, heads: int, features: int, hidden: int, width: int) -> None:
        """Allocate zeros."""
        shapes = (
            *[(heads, 1, features)] * 2,
            (heads, features, hidden),
            *[(heads, 1, hidden)] * 2,
            (heads, hidden, width),
            (heads, 1, width),
            (heads, features, width),
        )
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        self.flat = np.zeros(ends[-1], np.float32)
        views = [part.reshape(shape) for part, shape in zip(np.split(self.flat, ends[:-1]), shapes, strict=True)]
        self.gamma, self.beta, self.hidden, self.gamma_hidden, self.beta_hidden, self.out, self.bias, self.shortcut = (
            views  # normalisation would take away a bias of the hidden layer, and the shortcut shares the output's
        )


class Adam:
    """Adam as Keras computes it, on one flat array in place."""

    def __init__(self, size: int, learning_rate: float) -> None:
        """Start with moments of zero."""
        self._rate, self._steps = learning_rate, 0
        self._first, self._second, self._scratch = (np.zeros(size, np.float32) for _ in range(3))

    def apply(self, weights: Float32Array, gradient: Float32Array) -> None:
        """Take one step."""
        self._steps += 1
        rate = self._rate * math.sqrt(1 - _DECAY_2**self._steps) / (1 - _DECAY_1**self._steps)
        scratch = self._scratch
        np.subtract(gradient, self._first, out=scratch)
        scratch *= np.float32(1 - _DECAY_1)
        self._first += scratch
        np.multiply(gradient, gradient, out=scratch)
        scratch -= self._second
        scratch *= np.float32(1 - _DECAY_2)
        self._second += scratch
        np.sqrt(self._second, out=scratch)
        scratch += np.float32(_ADAM_EPSILON)
        np.divide(self._first, scratch, out=scratch)
        scratch *= np.float32(rate)
        weights -= scratch


class _Pass(NamedTuple):
    """What a forward pass leaves for the backward one: arrays (head, scan, ...), but ``normal`` (scan, feature)."""

    normal: Float32Array
    cut: BoolArray  # whether a unit was cut off
    x: Float32Array
    positive: Float32Array
    normal_hidden: Float32Array
    factor_hidden: Float32Array
    z_hidden: Float32Array
    y: Float32Array
    logits: Float32Array


class HeadStack:
    """The heads of one model and attacker seed: their weights, the gradient of their losses, and their scores."""

    def __init__(self, heads: Sequence[Head], *, seed: int, features: int, hidden: int) -> None:
        """Draw initial kernels, each head's from its own stream; the shortcut and columns not in use stay zero."""
        shape = (len(heads), features, hidden, max(head.width for head in heads))
        self._heads, self._features = len(heads), features
        self.weights, self.gradient = Parameters(*shape), Parameters(*shape)
        self.weights.gamma[...] = self.weights.gamma_hidden[...] = 1.0
        for a, head in enumerate(heads):
            rng = np.random.default_rng([_INIT_STREAM, head.stream, seed])
            for kernel in (self.weights.hidden[a], self.weights.out[a, :, : head.width]):
                limit = np.sqrt(6.0 / sum(kernel.shape))  # Glorot's uniform initialisation, as in Keras
                kernel[...] = rng.uniform(-limit, limit, size=kernel.shape)
        widths = np.array([head.width for head in heads])[:, None]
        self._mask = np.where(np.arange(shape[-1]) < widths, 0.0, _MASKED).astype(np.float32)[:, None]
        self._numbers = np.array([head.attribute.is_regression for head in heads])
        self._memory: dict[tuple[str, int], Float32Array] = {}

    def backward(self, features: Float32Array, batch: Batch) -> None:
        """Put the gradient of the sum of the heads' losses at scaled ``features``, (scan, feature), into ``gradient``.

        A head's loss is the weighted mean over scans of cross-entropy for classes, of Huber's loss for numbers.
        """
        self._backward(self._forward(_normalised(features)[0], batch), batch)

    def backward_through(self, features: Float32Array, batch: Batch) -> Float32Array:
        """Do as :meth:`backward` and return the gradient with respect to ``features``, (scan, feature)."""
        normal, factor = _normalised(features)
        units = self._backward(self._forward(normal, batch), batch)
        return _through_normalisation((units * self.weights.gamma).sum(axis=0), normal, factor)

    def scores(self, held_out: Float32Array, exposed: Float32Array) -> Float32Array:
        """Return (head, held-out scan, column): class probabilities, or in column 0 the number that is predicted.

        Columns beyond a head's own mean nothing. Both arguments are scaled features, (scan, feature); the exposed
        sample, in all its views, gives the statistics of both normalisations.
        """
        weights, (mean, factor) = self.weights, _moments(exposed)
        sample = [self._hidden((part - mean) * factor)[1] for part in _chunks(exposed)]
        mean_hidden, factor_hidden = _moments(np.concatenate(sample, axis=1))
        logits = []
        for part in _chunks(held_out):
            x, hidden = self._hidden((part - mean) * factor)
            hidden = (hidden - mean_hidden) * factor_hidden * weights.gamma_hidden + weights.beta_hidden
            y = np.clip(hidden, 0.0, _FARTHEST)
            logits.append(y @ weights.out + x @ weights.shortcut + (weights.bias + self._mask))
        answers = np.concatenate(logits, axis=1)
        return np.where(self._numbers[:, None, None], answers, softmax(answers))

    def _hidden(self, normal: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Return units (head, scan, feature), overwritten by the next call, and hidden units (head, scan, unit)."""
        x, positive = (self._room(name, len(normal)) for name in ("x", "positive"))
        np.multiply(normal, self.weights.gamma, out=x)
        x += self.weights.beta
        np.clip(x, 0.0, _FARTHEST, out=positive)
        np.clip(x, -_FARTHEST, _FARTHEST, out=x)
        return x, positive @ self.weights.hidden

    def _forward(self, normal: Float32Array, batch: Batch) -> _Pass:
        weights = self.weights
        z, x, positive = (self._room(name, len(normal)) for name in ("z", "x", "positive"))
        np.multiply(normal, weights.gamma, out=z)
        z += weights.beta
        np.clip(z, -_FARTHEST, _FARTHEST, out=x)
        cut = z != x
        x *= batch.keep_features
        np.clip(x, 0.0, _FARTHEST / KEEP, out=positive)  # dropout and ReLU commute, as masks are not negative
        normal_hidden, factor_hidden = _normalised(positive @ weights.hidden)
        z_hidden = normal_hidden * weights.gamma_hidden + weights.beta_hidden
        y = np.clip(z_hidden, 0.0, _FARTHEST) * batch.keep_hidden
        logits = y @ weights.out
        logits += x @ weights.shortcut
        logits += weights.bias + self._mask
        return _Pass(normal, cut, x, positive, normal_hidden, factor_hidden, z_hidden, y, logits)

    def _backward(self, at: _Pass, batch: Batch) -> Float32Array:
        """Fill the gradient and return (head, scan, feature), that at the first normalisation's output."""
        weights, gradient = self.weights, self.gradient
        slopes = self._slopes(at.logits, batch)
        np.matmul(_turned(at.y), slopes, out=gradient.out)
        slopes.sum(axis=1, keepdims=True, out=gradient.bias)
        np.matmul(_turned(at.x), slopes, out=gradient.shortcut)

        hidden = slopes @ _turned(weights.out)
        hidden *= batch.keep_hidden
        hidden *= (at.z_hidden > 0.0) & (at.z_hidden <= _FARTHEST)
        (hidden * at.normal_hidden).sum(axis=1, keepdims=True, out=gradient.gamma_hidden)
        hidden.sum(axis=1, keepdims=True, out=gradient.beta_hidden)
        hidden = _through_normalisation(hidden * weights.gamma_hidden, at.normal_hidden, at.factor_hidden)
        np.matmul(_turned(at.positive), hidden, out=gradient.hidden)

        units, other = (self._room(name, len(at.normal)) for name in ("units", "other"))
        np.matmul(hidden, _turned(weights.hidden), out=other)
        other *= at.positive > 0.0
        np.matmul(slopes, _turned(weights.shortcut), out=units)
        units += other
        units *= batch.keep_features
        units[at.cut] = 0.0
        np.multiply(units, at.normal, out=other)
        other.sum(axis=1, keepdims=True, out=gradient.gamma)
        units.sum(axis=1, keepdims=True, out=gradient.beta)
        return units

    def _slopes(self, logits: Float32Array, batch: Batch) -> Float32Array:
        """Return (head, scan, column), the gradient of the sum of the heads' losses with respect to the logits."""
        slopes, numbers = softmax(logits), self._numbers
        index = np.where(numbers[:, None], 0, batch.targets).astype(np.int64)[..., None]
        np.put_along_axis(slopes, index, np.take_along_axis(slopes, index, axis=-1) - np.float32(1.0), axis=-1)
        slopes[numbers] = 0.0
        slopes[numbers, :, 0] = np.clip(logits[numbers, :, 0] - batch.targets[numbers], -_HUBER_DELTA, _HUBER_DELTA)
        slopes *= (batch.weights / np.float32(batch.weights.shape[-1]))[..., None]
        return slopes

    def _room(self, name: str, scans: int) -> Float32Array:
        """Return memory for (head, scan, feature), used again and again."""
        if (name, scans) not in self._memory:
            self._memory[name, scans] = np.empty((self._heads, scans, self._features), np.float32)
        return self._memory[name, scans]


def _moments(sample: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Return mean and reciprocal spread over the scans of (..., scan, column), both (..., 1, column).

    Summed in float64, for a float32 mean of values far from 0 misses them by more than they vary.
    """
    mean = sample.mean(axis=-2, keepdims=True, dtype=np.float64)
    factor = 1.0 / np.sqrt(sample.var(axis=-2, keepdims=True, dtype=np.float64) + EPSILON)
    return mean.astype(np.float32), factor.astype(np.float32)


def _normalised(x: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Return (..., scan, column) normalised by its own statistics, and the reciprocal spreads."""
    mean, factor = _moments(x)
    return (x - mean) * factor, factor


def _through_normalisation(gradient: Float32Array, normal: Float32Array, factor: Float32Array) -> Float32Array:
    """Return the gradient at a normalisation's input from that at its output ``normal``, both (..., scan, column)."""
    along = (gradient * normal).mean(axis=-2, keepdims=True)
    centred: Float32Array = gradient - gradient.mean(axis=-2, keepdims=True) - normal * along
    return centred * factor


def _turned(stack: Float32Array) -> Float32Array:
    return stack.swapaxes(-1, -2)


def _chunks(scans: Float32Array) -> list[Float32Array]:
    return [scans[i : i + _CHUNK] for i in range(0, len(scans), _CHUNK)]
