"""A tiny cohort of three unequal sites whose two classes differ in one corner, and tiny networks to train on it."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from flprivacy.core.cohort import Cohort
from flprivacy.models.architecture import Architecture, linear_head, scan_input, trunk_model
from flprivacy.training.method import Method, compile_step, shuffled_batches
from tests.cohort_builder import build_cohort, cohort_meta

SHAPE = (8, 32, 40)  # (depth, height, width), no two alike
TRAIN_SIZES = (13, 6, 3)
TEST_SIZE = 6


def tiny_manifest(train_sizes: tuple[int, ...] = TRAIN_SIZES, n_classes: int = 2) -> pd.DataFrame:
    rows = []
    for site, size in enumerate(train_sizes):
        for number in range(size + TEST_SIZE):
            rows.append(
                {
                    "scan_id": f"scan-{site}-{number}",
                    "patient_id": f"patient-{site}-{number}",
                    "site_id": site,
                    "split": "train" if number < size else "test",
                    "label": number % n_classes,
                    "sex": "FM"[number // 2 % 2],
                    "age_years": 40.0 + number,
                }
            )
    return pd.DataFrame(rows)


def tiny_volumes(manifest: pd.DataFrame) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(5)
    for label in manifest["label"].tolist():
        volume = rng.integers(60, 110, size=SHAPE)
        volume[:4, :16, 8:32] += 90 * label
        yield volume.astype(np.uint8)


def write_tiny_cohort(folder: Path, manifest: pd.DataFrame) -> Cohort:
    classes = [f"class-{c}" for c in range(int(manifest["label"].max()) + 1)]
    sites = "abcde"[: max(3, int(manifest["site_id"].max()) + 1)]
    return build_cohort(folder, manifest, cohort_meta(SHAPE, sites, classes=classes), tiny_volumes(manifest))


def tiny_network(seed: int) -> keras.Model:
    """A network with everything that carries state: weights, batch statistics and a random layer."""
    layers, glorot = keras.layers, keras.initializers.GlorotUniform
    scans = layers.Input((*SHAPE, 1))
    x = layers.AveragePooling3D(4)(scans)
    x = layers.Conv3D(4, 3, padding="same", kernel_initializer=glorot(seed=seed))(x)
    x = layers.BatchNormalization()(x)
    x = layers.Dropout(0.2, seed=7)(layers.ReLU()(x))
    x = layers.GlobalMaxPooling3D()(x)
    return keras.Model(scans, layers.Dense(2, "softmax", kernel_initializer=glorot(seed=seed + 1))(x))


def linear_network() -> keras.Model:
    """Softmax regression from zero weights on 4 x 4 x 4 averages: its gradient is known in closed form."""
    scans = keras.layers.Input((*SHAPE, 1))
    x = keras.layers.Flatten()(keras.layers.AveragePooling3D(4)(scans))
    classes = keras.layers.Dense(2, "softmax", use_bias=False, kernel_initializer="zeros")(x)
    return keras.Model(scans, classes)


def _tiny_trunk(shape: tuple[int, int, int]) -> keras.Model:
    scan = scan_input(shape)
    x = keras.layers.Flatten()(keras.layers.AveragePooling3D((2, 4, 4))(scan))
    return trunk_model(scan, keras.layers.Dropout(0.2, seed=7, name="dropped")(x))


TINY = Architecture((8, 32, 40), _tiny_trunk, linear_head)
"""Softmax regression on averages, with a random layer, as a registered architecture would be: built in no time."""


def _grouped_trunk(shape: tuple[int, int, int]) -> keras.Model:
    scan = scan_input(shape)
    x = keras.layers.AveragePooling3D((2, 4, 4))(scan)
    x = keras.layers.Conv3D(2, 3, padding="same", name="conv")(x)
    return trunk_model(scan, keras.layers.Flatten()(keras.layers.GroupNormalization(1, name="norm")(x)))


GROUPED = Architecture((8, 32, 40), _grouped_trunk, linear_head)
"""Of layers whose scans go through it together in private training: a convolution, a normalisation, a dense head."""


SGD = Method(
    name="sgd",
    compile=lambda model, config: compile_step(model, keras.optimizers.SGD(config.learning_rate)),
    batches=shuffled_batches,
)


def assert_same_bits(left: list[np.ndarray], right: list[np.ndarray]) -> None:
    assert [a.tobytes() for a in left] == [b.tobytes() for b in right]
