"""Broken private training, put together from the right parts: what a check of the promise must find.

Each stands in for one part of :func:`flprivacy.training.dp_sgd.dp_sgd` and claims what the right one claims.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import keras
import numpy as np
import tensorflow as tf

from flprivacy.privacy import site_level
from flprivacy.privacy.config import DpSgdConfig
from flprivacy.privacy.gradients import DpSgdRule, StepResult
from flprivacy.privacy.randomness import NOISE, generator
from flprivacy.privacy.sampling import Chunk
from flprivacy.training import federated, private_run
from flprivacy.training.dp_sgd import dp_sgd
from flprivacy.training.method import Method
from flprivacy.training.private_run import PrivateRun


class Scaled(DpSgdRule):
    """The right rule, but its noise is multiplied by a factor that nobody accounts for."""

    def __init__(self, model, optimizer, config, *, seed, factor: Callable[[DpSgdConfig], float]):
        super().__init__(model, optimizer, config, seed=seed)
        self._factor = factor

    def serve(self, *, noise_multiplier, expected_batch):
        super().serve(noise_multiplier=noise_multiplier, expected_batch=expected_batch)
        self._config = replace(self._config, noise_multiplier=noise_multiplier * self._factor(self._config))


class MicrobatchOfAll:
    """One microbatch a batch: the gradient of the batch's mean loss is clipped, not each scan's.

    ``noise_on_mean``: noise of the claimed size is added to the clipped *mean* (what TensorFlow Privacy does with
    ``num_microbatches=1``, and so the reference study); otherwise to the sum, as the claim says.
    """

    def __init__(self, model, optimizer, config, *, seed, noise_on_mean: bool = False):
        self._model, self._optimizer, self._config, self._seed = model, optimizer, config, seed
        self._on_mean = noise_on_mean
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        self._sums, self._count = None, 0.0
        self._gradient = tf.function(self._summed)

    def serve(self, *, noise_multiplier, expected_batch):
        self._config = replace(self._config, noise_multiplier=noise_multiplier, expected_batch=expected_batch)

    def contribute(self, gradients):
        self._add(gradients)
        self._count += 1

    def step(self, x, y, mask, *, key, scans=None, ends=None, last=True):
        self._add([g.numpy() for g in self._gradient(tf.constant(x), tf.constant(y), tf.constant(mask))])
        self._count += float(mask.sum())
        if not last:
            return None
        config, batch = self._config, self._config.expected_batch
        mean = [s / batch for s in self._sums]
        norm = np.sqrt(sum(np.square(m).sum() for m in mean))
        rng = generator(NOISE, self._seed, key)
        deviation = config.clip_norm * config.noise_multiplier / (1.0 if self._on_mean else batch)
        scale = min(1.0, config.clip_norm / norm)
        noised = [scale * m + rng.normal(0.0, deviation, m.shape) for m in mean]
        self._optimizer.apply([tf.constant(n, tf.float32) for n in noised], self._model.trainable_variables)
        self._sums, self._count = None, 0.0
        return StepResult(loss=0.0, accuracy=0.0, scans=0, units=0, clipped=0.0)

    def _add(self, gradients):
        self._sums = list(gradients) if self._sums is None else [s + g for s, g in zip(self._sums, gradients)]

    def _summed(self, x, y, mask):
        with tf.GradientTape() as tape:
            losses = keras.losses.categorical_crossentropy(y, self._model(x, training=True))
            loss = tf.reduce_sum(losses * mask)
        return tape.gradient(loss, [v.value for v in self._model.trainable_variables])


def _chunks_of(units: np.ndarray, physical: int) -> Iterator[Chunk]:
    for start in range(0, max(len(units), 1), physical):
        part = units[start : start + physical]
        indices, mask = np.zeros(physical, dtype=np.int64), np.zeros(physical, dtype=np.float32)
        indices[: len(part)], mask[: len(part)] = part, 1.0
        yield Chunk(indices=indices, mask=mask, ends=mask.copy(), last=start + physical >= len(units))


def in_order(run: PrivateRun, n: int, physical: int, key: tuple[int, ...]) -> Iterator[Chunk]:
    """Batches in one and the same order in every pass, accounted for as if each were drawn at random."""
    steps = round(1.0 / run.events[key[0]].sampling_rate)
    yield from _chunks_of(np.arange(n)[key[-1] :: steps], physical)


def shuffled(run: PrivateRun, n: int, physical: int, key: tuple[int, ...]) -> Iterator[Chunk]:
    """Batches of a fresh random order in every pass: what most libraries do and accountants do not price."""
    steps = round(1.0 / run.events[key[0]].sampling_rate)
    order = generator("shuffle", run.seed, key[:-1]).permutation(n)
    yield from _chunks_of(order[key[-1] :: steps], physical)


def everybody(run: PrivateRun, n: int, physical: int, key: tuple[int, ...]) -> Iterator[Chunk]:
    """Canaries, and with them any unit behind the first scans, take part in every step; claimed is a small share."""
    rate = run.events[key[0]].sampling_rate
    first = run.first_canary.get(key[0], n)
    scans = np.flatnonzero(generator("everybody", run.seed, key).random(first) < rate)
    yield from _chunks_of(np.concatenate([scans, np.arange(first, n)]), physical)


def by_scans(run, clients, drawn) -> list[int]:
    """Clients of private training count by their numbers of scans, as in FedAvg without privacy."""
    return [len(clients[c]) for c in drawn]


def counted(config, name: str, number: int) -> int:
    """The number of units is read off the data although it is to be declared."""
    return number


@contextmanager
def planted(name: str) -> Iterator[Callable[..., Method]]:
    """Yield the method of a training, while the mistakes outside of methods are in place."""
    with ExitStack() as stack:
        for module, attribute, broken in ELSEWHERE.get(name, ()):
            stack.enter_context(patch.object(module, attribute, broken))
        yield METHODS.get(name, dp_sgd)


RIGHT = "right"
METHODS = {
    RIGHT: dp_sgd,
    "no noise": partial(dp_sgd, make_rule=partial(Scaled, factor=lambda config: 0.0)),
    "batch mean clipped": partial(dp_sgd, make_rule=MicrobatchOfAll),
    "noise divided by the batch": partial(
        dp_sgd, make_rule=partial(Scaled, factor=lambda config: 1.0 / config.expected_batch)
    ),
    "batches in order": partial(dp_sgd, chunks=in_order),
    "everybody in every step": partial(dp_sgd, chunks=everybody),
    # What canaries of one training cannot see at this scale; see docs/method.md.
    "batch mean clipped, noise on the mean": partial(dp_sgd, make_rule=partial(MicrobatchOfAll, noise_on_mean=True)),
    "noise halved": partial(dp_sgd, make_rule=partial(Scaled, factor=lambda config: 0.5)),
    "noise a fifth too small": partial(dp_sgd, make_rule=partial(Scaled, factor=lambda config: 0.8)),
    "batches shuffled": partial(dp_sgd, chunks=shuffled),
}
ELSEWHERE = {
    "clients weighted by scans": [(federated, "_shares", by_scans)],
    "number of units read off the data": [(private_run, "public_units", counted)],
    "no noise on sites": [(site_level, "gaussian", lambda stream, seed, key, size: np.zeros(size))],
}
CAUGHT = tuple(METHODS)[1:6]  # by canaries of one training
REPEATED = ("batch mean clipped, noise on the mean", "noise halved", *tuple(ELSEWHERE)[:2])  # by worst cases alone
INVISIBLE = tuple(METHODS)[-2:]
