"""What an architecture is, and what building one gives."""

from collections.abc import Callable
from dataclasses import dataclass

import keras

Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How to build the two parts of a network, and what it asks for.

    Attributes:
        name: name in the registry.
        description: one line for lists and reports.
        minimal_shape: smallest (depth, height, width) that it takes, in voxels.
        batch_norm: whether it holds BatchNormalization, which mixes the scans of a batch and so rules out
            example-level differential privacy.
        trunk: (depth, height, width) -> model from scans (n, depth, height, width, 1) to features (n, feature).
        head: (features, classes) -> model from features (n, feature) to probabilities (n, class), float32.
    """

    name: str
    description: str
    minimal_shape: Shape
    batch_norm: bool
    trunk: Callable[[Shape], keras.Model]
    head: Callable[[int, int], keras.Model]


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetModel:
    """A built network.

    Attributes:
        trunk: scans (n, depth, height, width, 1) in [0, 1] -> features (n, feature), float32.
        head: features -> class probabilities (n, class), float32; None where the network is not one of ours, whose
            answers need not follow from its features.
        model: head after trunk; shares their variables, so that loading into one loads into all.
        architecture: name in the registry, or ``custom``.
        shape: (depth, height, width) that it takes, in voxels.
        n_classes: disease classes of the head.
        probabilities: where ``head`` is None: class probabilities as a tensor of the trunk's graph; None where the
            network does not classify.
    """

    trunk: keras.Model
    head: keras.Model | None
    model: keras.Model
    architecture: str
    shape: Shape
    n_classes: int
    probabilities: keras.KerasTensor | None = None


def scan_input(shape: Shape) -> keras.KerasTensor:
    """Return the symbolic input of a trunk: (n, depth, height, width, 1)."""
    return keras.Input((*shape, 1), name="scan")


def trunk_model(scan: keras.KerasTensor, features: keras.KerasTensor) -> keras.Model:
    """Close a trunk. Features leave it as float32 whatever the precision policy computes in."""
    features = keras.layers.Activation("linear", dtype="float32", name="features")(features)
    return keras.Model(scan, features, name="trunk")
