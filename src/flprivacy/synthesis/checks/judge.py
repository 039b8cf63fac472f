"""The judge: a small network that learns from one half of the training patients what site and class look like.

Its features are the space that fidelity and diversity are measured in. The other half of the training patients and the
held-out ones are alike to it, which they are not to a network that was trained on all training scans; so the distance
between those two is an honest floor.
"""

from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from flprivacy.models.registry import build

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Volumes = npt.NDArray[np.uint8]

ARCHITECTURE = "cnn3d_small"
_STEPS, _BATCH, _RATE = 200, 16, 3e-3
_SCORED_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What the judge sees in scans.

    Attributes:
        features: (scan, feature) of its trunk.
        classes: condition -> (scan,) the class that it takes a scan for.
    """

    features: FloatArray
    classes: dict[str, IntArray]


class Judge:
    """A trained judge."""

    def __init__(self, network: keras.Model, names: tuple[str, ...]) -> None:
        """Use :func:`train_judge`."""
        self._network, self._names = network, names

    def look(self, volumes: Volumes) -> Seen:
        """Return what it sees in uint8 (scan, depth, height, width)."""
        parts = [
            self._network.predict_on_batch(_input(volumes[start : start + _SCORED_AT_ONCE]))
            for start in range(0, len(volumes), _SCORED_AT_ONCE)
        ]
        features, *answers = (np.concatenate(one) for one in zip(*parts, strict=True))
        classes = {name: one.argmax(axis=1) for name, one in zip(self._names, answers, strict=True)}
        return Seen(features=features, classes=classes)


def train_judge(volumes: Volumes, conditions: dict[str, IntArray], n_classes: dict[str, int], *, seed: int) -> Judge:
    """Train a judge for some hundred steps.

    Args:
        volumes: uint8 (scan, depth, height, width).
        conditions: name -> (scan,) true class.
        n_classes: name -> how many classes there are.
        seed: draws initial weights and batches.
    """
    trunk = build(ARCHITECTURE, shape=volumes.shape[1:], n_classes=2, seed=seed).trunk
    heads = {
        name: layers.Dense(
            n_classes[name],
            activation="softmax",
            dtype="float32",
            kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 1),
            name=f"of_{name}",
        )(trunk.output)
        for name in conditions
    }
    learner = keras.Model(trunk.input, list(heads.values()))
    learner.compile(keras.optimizers.Adam(_RATE), ["sparse_categorical_crossentropy"] * len(heads))
    rng = np.random.default_rng(seed)
    size = min(_BATCH, len(volumes))
    order = np.concatenate([rng.permutation(len(volumes)) for _ in range(-(-_STEPS * size // len(volumes)))])
    for step in range(_STEPS):
        rows = order[step * size : (step + 1) * size]
        learner.train_on_batch(_input(volumes[rows]), [truth[rows] for truth in conditions.values()])
    return Judge(keras.Model(trunk.input, [trunk.output, *heads.values()]), tuple(conditions))


def _input(volumes: Volumes) -> FloatArray:
    return (volumes.astype(np.float32) / np.float32(255.0))[..., None]
