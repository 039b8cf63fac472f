"""The reference study's attack, one attribute at a time: what speed and strength are measured against.

Every epoch of every attack passes every augmented exposed scan and every held-out scan through the frozen trunk.
The head is trained by Keras: features -> BatchNorm, Dropout .5, ReLU, Dense 32, BatchNorm, Dropout .5, ReLU, Dense,
with class-balanced weights and Adam; held-out scans are scored before each epoch. Unlike the original it scores the
last partial batch and scores once more after the last epoch, and it loads batches ahead, as ours does.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from flprivacy.attacks.cache import ahead
from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.samples import class_weights
from flprivacy.attacks.scenario import AttributeLabels
from flprivacy.cohorts.format import read_volumes
from flprivacy.cohorts.preprocessing import test_view, train_view, view_keys
from flprivacy.cohorts.sampling import exposed_rows
from flprivacy.core.cohort import TEST, Cohort
from flprivacy.core.metrics import confusion_matrices, f1_weighted, mean_absolute_error
from flprivacy.models.registry import TargetModel


@dataclass(frozen=True)
class NaiveResult:
    """Strength before each epoch and after the last, and the scans that passed through the trunk."""

    curve: tuple[float, ...]
    forwards: int


def naive_attack(
    model: TargetModel, cohort: Cohort, labels: AttributeLabels, config: AttackConfig, *, fraction, seed, protocol
) -> NaiveResult:
    """Attack one attribute at one fraction and seed."""
    rows = exposed_rows(cohort, fraction=fraction, seed=seed)
    rows = rows[~np.isnan(labels.values[rows])]
    test = cohort.rows(TEST)
    test = test[~np.isnan(labels.values[test])]
    values = labels.values[rows]
    centre, spread = (values.mean(), values.std()) if labels.attribute.is_regression else (0.0, 1.0)
    targets = (values - centre) / spread
    weights = (
        np.ones(len(rows)) if labels.attribute.is_regression else class_weights(values, labels.head.width, balance=1.0)
    )

    network = _network(model, labels, config, seed)
    rng = np.random.default_rng(seed)
    curve, forwards = [], 0
    for epoch in range(config.epochs + 1):
        scores = _scores(network, cohort, test, protocol, config.batch_size)
        forwards += len(test)
        curve.append(
            _strength(
                labels, labels.values[test], scores * spread + centre if labels.attribute.is_regression else scores
            )
        )
        if epoch == config.epochs:
            break
        order = rng.permutation(len(rows))
        batches = [order[i : i + config.batch_size] for i in range(0, len(order), config.batch_size)]
        loaded = ahead(lambda b, view=epoch + 1: _train_inputs(cohort, rows[b], protocol, view), batches)
        for batch, inputs in zip(batches, loaded, strict=True):
            network.train_on_batch(inputs, targets[batch], sample_weight=weights[batch])
            forwards += len(batch)
    return NaiveResult(curve=tuple(curve), forwards=forwards)


def _network(model: TargetModel, labels: AttributeLabels, config: AttackConfig, seed: int) -> keras.Model:
    """The reference study's head on the frozen trunk, as one Keras model."""
    keras.utils.set_random_seed(seed)
    scan = keras.Input(model.trunk.input_shape[1:])
    x = model.trunk(scan, training=False)
    for units in (config.hidden, labels.head.width):
        x = layers.BatchNormalization()(x)
        x = layers.Dropout(0.5)(x)
        x = layers.Activation("relu")(x)
        x = layers.Dense(units)(x)
    network = keras.Model(scan, x if labels.attribute.is_regression else layers.Activation("softmax")(x))
    model.trunk.trainable = False
    loss = keras.losses.Huber() if labels.attribute.is_regression else keras.losses.SparseCategoricalCrossentropy()
    network.compile(keras.optimizers.Adam(config.learning_rate), loss, jit_compile=False)
    return network


def _train_inputs(cohort, rows, protocol, view):
    return train_view(read_volumes(cohort, rows), protocol=protocol, view=view, keys=view_keys(cohort, rows))


def _scores(network, cohort, rows, protocol, batch_size):
    batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    loaded = ahead(lambda b: test_view(read_volumes(cohort, b), protocol=protocol), batches)
    return np.concatenate([network.predict_on_batch(inputs) for inputs in loaded])


def _strength(labels, truth, scores):
    if labels.attribute.is_regression:
        return float(mean_absolute_error(truth, scores[:, 0]))
    return float(f1_weighted(confusion_matrices(truth.astype(int), scores.argmax(axis=1), labels.head.width)))
