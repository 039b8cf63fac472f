"""How the reference study's attacker learns from features: the heads of one model and one attacker seed."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from flprivacy.attacks.config import LearnerConfig
from flprivacy.attacks.heads import Adam, HeadStack
from flprivacy.attacks.samples import Batches, Sample
from flprivacy.core.array_types import Float32Array

Strength = Callable[[Float32Array], npt.NDArray[np.float64]]

# A column that varies by less than this share of its mean over the exposed sample is rounding noise.
_CONSTANT = 1e-6
_DENSE_EPOCHS = 4  # a curve has each of the first epochs, then every fourth, and the last


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """Trained heads and what they say."""

    stack: HeadStack
    scale: Float32Array  # (feature,) factors of their inputs
    scores: (
        Float32Array  # (head, held-out scan, column) after the last epoch: class probabilities, or years in column 0
    )
    curves: npt.NDArray[np.float64]  # (head, point) strength after curve_epochs epochs; empty if not asked


def one_thread() -> AbstractContextManager[object]:
    """Compute with one thread meanwhile: matrices of this size lose by more, and bits must not depend on how many."""
    limited: AbstractContextManager[object] = _thread_pools().limit(limits=1, user_api="blas")
    return limited


@functools.cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()  # goes through all libraries of the process, so only once


def train_heads(
    exposed: Float32Array,
    held_out: Float32Array,
    sample: Sample,
    config: LearnerConfig,
    *,
    strength: Strength | None = None,
    on_epoch: Callable[[], None] = lambda: None,
) -> Trained:
    """Train the heads of one seed from fresh weights on features that do not change, and score the held-out scans.

    Args:
        exposed: (view, scan, feature) of the scans of ``sample``.
        held_out: (held-out scan, feature).
        sample: what is known of the exposed scans.
        config: epochs, batches and so on.
        strength: (head, held-out scan, column) scores -> (head,) points of the curves.
        on_epoch: called after each epoch.
    """
    scale, features = reciprocal_spread(exposed), exposed.shape[-1]
    scaled, test = exposed * scale, held_out * scale
    stack = HeadStack(sample.heads, seed=sample.seed, features=features, hidden=config.hidden)
    adam, batches = Adam(stack.weights.flat.size, config.learning_rate), Batches(sample, config, views=len(exposed))
    curves, points = [], curve_epochs(config.epochs) if strength is not None else ()

    def answers() -> Float32Array:
        return sample.in_units(stack.scores(test, scaled.reshape(-1, features)))

    with one_thread():
        for epoch in range(config.epochs):
            if strength is not None and epoch in points:
                curves.append(strength(answers()))
            for scans, views, batch in batches.epoch(features=features):
                stack.backward(scaled[views, scans], batch)
                adam.apply(stack.weights.flat, stack.gradient.flat)
            on_epoch()
        scores = answers()
    if strength is not None:
        curves.append(strength(scores))
    curve = np.stack(curves, axis=-1) if curves else np.empty((len(sample.heads), 0))
    return Trained(stack=stack, scale=scale, scores=scores, curves=curve)


def curve_epochs(epochs: int) -> tuple[int, ...]:
    """Return after how many of so many epochs an attack is scored for its curve: densely where it learns fastest."""
    return tuple(sorted({*range(min(epochs, _DENSE_EPOCHS)), *range(0, epochs, _DENSE_EPOCHS), epochs}))


def reciprocal_spread(exposed: Float32Array) -> Float32Array:
    """Return (feature,) factors that bring features (view, scan, feature) to unit variance over the exposed sample.

    A feature that does not vary there gets 0: nothing can be learnt from it, and its held-out values could be
    anything.
    """
    mean, spread = (of(exposed, axis=(0, 1), dtype=np.float64) for of in (np.mean, np.std))
    varies = spread > np.maximum(_CONSTANT * np.abs(mean), np.finfo(np.float32).tiny)
    return np.where(varies, 1.0 / np.where(varies, spread, 1.0), 0.0).astype(np.float32)
