"""The judge: a small network that learns from one half of the training patients what site and class look like.

It sees slices of about 32 pixels' edge: the fine grain of a generator's scans is not a scanner's, and a network that
reads the site from it would recognise none in any of them. Its features are the space that fidelity and diversity are
measured in. The other half of the training patients and the held-out ones are alike to it, which they are not to a
network that was trained on all training scans; so the distance between those two is an honest floor.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from flprivacy.core.array_types import Float32Array, IntArray, Volumes
from flprivacy.models.registry import build

ARCHITECTURE = "cnn3d_small"
_MOST_STEPS, _MOST_PASSES, _BATCH, _RATE = 300, 20, 16, 3e-3
_EDGE = 32  # pixels
_SCORED_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What the judge sees in scans.

    Attributes:
        features: (scan, feature) of its trunk.
        classes: condition -> (scan,) the class that it takes a scan for.
    """

    features: Float32Array
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
    """Train a judge for some hundred steps, fewer on few scans.

    Args:
        volumes: uint8 (scan, depth, height, width).
        conditions: name -> (scan,) true class.
        n_classes: name -> how many classes there are.
        seed: draws initial weights and batches.
    """
    seen = _input(volumes)  # each scan is looked at several times
    depth, height, width, _ = seen.shape[1:]
    trunk = build(ARCHITECTURE, shape=(depth, height, width), n_classes=2, seed=seed).trunk
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
    size = min(_BATCH, len(volumes))
    steps = min(_MOST_STEPS, _MOST_PASSES * len(volumes) // size)
    rate = keras.optimizers.schedules.CosineDecay(_RATE, steps)
    learner.compile(keras.optimizers.Adam(rate), ["sparse_categorical_crossentropy"] * len(heads))
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(volumes)) for _ in range(-(-steps * size // len(volumes)))])
    for step in range(steps):
        rows = order[step * size : (step + 1) * size]
        learner.train_on_batch(seen[rows], [truth[rows] for truth in conditions.values()])
    return Judge(keras.Model(trunk.input, [trunk.output, *heads.values()]), tuple(conditions))


def _input(volumes: Volumes) -> Float32Array:
    """Return what the network sees of uint8 (scan, depth, height, width): slices of about 32 pixels' edge."""
    scans, depth, height, width = volumes.shape
    step = max(1, min(height, width) // _EDGE)
    whole = volumes[:, :, : height // step * step, : width // step * step].astype(np.float32)
    means: Float32Array = whole.reshape(scans, depth, height // step, step, width // step, step).mean(axis=(3, 5))
    return (means / np.float32(255.0))[..., None]
