"""The attacker who holds the weights and trains the trunk on.

Each (model, fraction, seed) is an attack of its own; all attributes share its trunk, a head each, so the trunk learns
what tells any of them. It starts where the attack on frozen features ends (linear probing, then fine-tuning: Kumar et
al., arXiv:2202.10054): with few exposed scans a head that is still random would distort the trunk before it could use
it. The trunk's own normalisation and dropout stay in inference mode, as batches are small. The heads normalise by the
batch, through which gradients pass: with statistics of the epoch's start, which do not follow the trunk, fine-tuning
made attacks weaker at learning rates of 1e-3 and above.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flprivacy.attacks.answering import Answer
from flprivacy.attacks.cache import ahead, batched
from flprivacy.attacks.features import TEST_VIEW, model_forward
from flprivacy.attacks.frozen import FrozenAttack
from flprivacy.attacks.heads import Adam, Batch
from flprivacy.attacks.learner import Trained, curve_epochs, one_thread
from flprivacy.attacks.results import Finished, Job, Outcome
from flprivacy.attacks.samples import Batches
from flprivacy.attacks.scenario import Exposure
from flprivacy.core.array_types import Float32Array, FloatArray, IntArray
from flprivacy.models.registry import TargetModel

ACCESS = "finetune"
# Whole volumes pass through the trunk and back: a batch of the heads' size would not fit into memory.
LARGEST_BATCH = 16


class FinetuneAttack:
    """Fine-tuning attacks on a target's models, one after another, each result kept as soon as it is finished."""

    def __init__(self, frozen: FrozenAttack, load: Callable[[str], TargetModel]) -> None:
        """Prepare attacks that start where ``frozen``'s end; ``load`` gives a model with its own weights.

        All models must be loaded into one network, as its training step is built once.
        """
        self._frozen, self._load = frozen, load
        self._scenario, self._views = frozen.scenario, frozen.views
        config = self._scenario.config
        self._config = dataclasses.replace(
            config.learner,
            epochs=config.finetune_epochs,
            batch_size=min(config.batch_size, LARGEST_BATCH),
            learning_rate=config.finetune_learning_rate,
        )
        self._trunk: _Trunk | None = None

    def run(self) -> list[Finished]:
        """Run what is missing and return everything, by model, fraction and seed."""
        exposures = self._scenario.exposures
        return self._frozen.store.complete(
            self._scenario,
            [Job(source, ACCESS, exposure) for source in self._frozen.sources for exposure in exposures],
            self._attack,
            description=f"fine-tuning of {self._frozen.target}",
            steps=self._config.epochs,
        )

    def _attack(self, job: Job, on_epoch: Callable[[], None]) -> Outcome:
        """Train heads on the frozen features, then everything; one model, one seed, all attributes."""
        exposure, measure = job.exposure, self._scenario.strength
        heads = self._frozen.train(job.source, "features", exposure)
        model = self._load(job.source.model)
        trunk = self._trunk = self._trunk or _Trunk(model, self._config.learning_rate)
        trunk.forget()
        adam = Adam(heads.stack.weights.flat.size, self._config.learning_rate)
        batches, curves = Batches(exposure.sample, self._config, views=self._views.views), []
        points = curve_epochs(self._config.epochs)
        for epoch in range(self._config.epochs):
            if epoch in points:
                curves.append(measure(self._scores(trunk, heads, exposure)))
            steps = list(batches.epoch(features=len(heads.scale)))
            inputs = ahead(lambda step: self._volumes(exposure.rows[step[0]], step[1]), steps)
            for (_, _, batch), volumes in zip(steps, inputs, strict=True):
                trunk.step(volumes, functools.partial(_learn, heads, adam, batch))
            on_epoch()
        scores = self._scores(trunk, heads, exposure)
        return self._outcome(exposure, scores, np.stack([*curves, measure(scores)], axis=-1))

    def _outcome(self, exposure: Exposure, scores: Float32Array, curves: FloatArray) -> Outcome:
        """Return the outcome; there is nothing left out to fuse with, for every fold would need a trunk of its own."""
        answers = []
        for one, some in zip(self._scenario.labels, scores, strict=True):
            own, none = some[:, : one.head.width], np.zeros((len(exposure.rows), 0), np.float32)
            answers.append(Answer(scores=own, left_out=none, evidence=none, learners=("fine-tuned network",)))
        return Outcome(answers, curves)

    def _volumes(self, rows: IntArray, numbers: IntArray) -> Float32Array:
        """Return the network inputs of a batch, each scan in the view drawn for it."""
        volumes = np.empty((len(rows), *self._scenario.cohort.meta.shape, 1), np.float32)
        for view in np.unique(numbers).tolist():
            volumes[numbers == view] = self._views.load(view, rows[numbers == view])
        return volumes

    def _scores(self, trunk: "_Trunk", heads: Trained, exposure: Exposure) -> Float32Array:
        """Return the scores of trunk and heads as they are now."""

        def answers(view: int, rows: IntArray) -> Float32Array:
            size = self._scenario.config.extraction_batch_size
            load = functools.partial(self._views.load, view)
            parts = batched(rows, batch_size=size, load=load, forward=trunk.forward)
            return np.concatenate([part["features"] for part in parts]) * heads.scale

        exposed = np.concatenate([answers(view, exposure.rows) for view in range(self._views.views)])
        held_out = answers(TEST_VIEW, self._views.scored)
        with one_thread():
            return exposure.sample.in_units(heads.stack.scores(held_out, exposed))


def _learn(heads: Trained, adam: Adam, batch: Batch, features: Float32Array) -> Float32Array:
    """Take a step of the heads and return the gradient at ``features``, both (scan, feature)."""
    with one_thread():
        gradient = heads.stack.backward_through(features * heads.scale, batch) * heads.scale
    adam.apply(heads.stack.weights.flat, heads.stack.gradient.flat)
    return gradient


class _Trunk:
    """A trunk in training, by the gradient that comes back for its features."""

    def __init__(self, model: TargetModel, learning_rate: float) -> None:
        self.forward = model_forward(model)
        self._trunk, self._variables = model.trunk, model.trunk.trainable_variables
        self._optimizer = keras.optimizers.Adam(learning_rate)
        self._optimizer.build(self._variables)
        self._respond: Callable[[Float32Array], Float32Array] = np.zeros_like
        self._step = tf.function(self._traced_step)

    def forget(self) -> None:
        """Start the optimizer afresh."""
        for variable in self._optimizer.variables:
            if not variable.path.endswith("learning_rate"):
                variable.assign(np.zeros(variable.shape, variable.dtype))

    def step(self, volumes: Float32Array, respond: Callable[[Float32Array], Float32Array]) -> None:
        """Take a step on ``volumes``; ``respond`` gets their features and returns the gradient at them."""
        self._respond = respond
        self._step(tf.constant(volumes))

    def _traced_step(self, volumes: Any) -> None:
        with tf.GradientTape() as tape:
            features = self._trunk(volumes, training=False)
        gradient = tf.numpy_function(self._answer, [features], tf.float32)
        gradient.set_shape(features.shape)
        gradients = tape.gradient(features, self._variables, output_gradients=gradient)
        self._optimizer.apply(gradients, self._variables)

    def _answer(self, features: Float32Array) -> Float32Array:
        return self._respond(features)  # each step's own, while the step is traced once
