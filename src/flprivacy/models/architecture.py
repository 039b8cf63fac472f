"""What an architecture is, what building one gives, and the parts that several share."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import keras
from keras import layers

Shape = tuple[int, int, int]


class Architecture(NamedTuple):
    """How to build the two parts of a network, and what it asks for."""

    minimal_shape: Shape  # smallest (depth, height, width) that it takes, in voxels
    # (depth, height, width) -> model from scans (n, depth, height, width, 1) to features (n, feature)
    trunk: Callable[[Shape], keras.Model]
    # (features, classes) -> model from features (n, feature) to probabilities (n, class), float32
    head: Callable[[int, int], keras.Model]


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetModel:
    """A built network."""

    trunk: keras.Model  # scans (n, depth, height, width, 1) in [0, 1] -> features (n, feature), float32
    # features -> class probabilities (n, class), float32; None where the network is not one of ours, whose answers need
    # not follow from its features
    head: keras.Model | None
    model: keras.Model  # head after trunk; shares their variables, so that loading into one loads into all
    architecture: str  # name in the registry, or ``custom``
    shape: Shape  # (depth, height, width) that it takes, in voxels
    n_classes: int  # disease classes of the head
    # where ``head`` is None: class probabilities as a tensor of the trunk's graph; None where the network does not
    # classify
    probabilities: keras.KerasTensor | None = None


def scan_input(shape: Shape) -> keras.KerasTensor:
    """Return the symbolic input of a trunk: (n, depth, height, width, 1)."""
    return keras.Input((*shape, 1), name="scan")


def taking(model: TargetModel, bounds: tuple[float, float]) -> TargetModel:
    """Return a network of ours that was trained on other values: 0 and 1 of the scans become ``bounds`` for it."""
    if model.head is None or bounds == (0.0, 1.0):
        return model
    scan = scan_input(model.shape)
    values = layers.Rescaling(bounds[1] - bounds[0], offset=bounds[0], dtype="float32", name="input_range")(scan)
    features = model.trunk(values)
    whole = keras.Model(scan, model.head(features), name=model.architecture)
    return replace(model, trunk=keras.Model(scan, features, name="trunk"), model=whole)


def trunk_model(scan: keras.KerasTensor, features: keras.KerasTensor) -> keras.Model:
    """Close a trunk. Features leave it as float32 whatever the precision policy computes in."""
    features = layers.Activation("linear", dtype="float32", name="features")(features)
    return keras.Model(scan, features, name="trunk")


# Heads: features (n, feature) to class probabilities (n, class), always float32.


def linear_head(features: int, classes: int) -> keras.Model:
    """One dense layer and a softmax."""
    inputs = keras.Input((features,), name="features")
    return _probabilities(inputs, inputs, classes)


def dropout_head(features: int, classes: int) -> keras.Model:
    """Dropout 0.3, then one dense layer: the reference study's head of its residual 3D CNN."""
    inputs = keras.Input((features,), name="features")
    return _probabilities(inputs, layers.Dropout(0.3, name="head_dropout")(inputs), classes)


def bottleneck_head(features: int, classes: int) -> keras.Model:
    """The reference study's head on I3D and slice features: two rounds of normalisation, a bottleneck of 32 units.

    Features -> BatchNorm, Dropout 0.5, ReLU, Dense 32, BatchNorm, Dropout 0.5, ReLU, Dense classes, softmax.
    """
    inputs = x = keras.Input((features,), name="features")
    for round_ in (1, 2):
        x = layers.BatchNormalization(name=f"head_bn{round_}")(x)
        x = layers.Dropout(0.5, name=f"head_dropout{round_}")(x)
        x = layers.Activation("relu", name=f"head_relu{round_}")(x)
        if round_ == 1:
            x = layers.Dense(32, name="head_bottleneck")(x)
    return _probabilities(inputs, x, classes)


def _probabilities(inputs: keras.KerasTensor, x: keras.KerasTensor, classes: int) -> keras.Model:
    logits = layers.Dense(classes, name="head_logits")(x)
    # float32 even under a mixed policy: half precision rounds small probabilities to 0 and their logarithm to -inf.
    probabilities = layers.Activation("softmax", dtype="float32", name="head_softmax")(logits)
    return keras.Model(inputs, probabilities, name="head")
