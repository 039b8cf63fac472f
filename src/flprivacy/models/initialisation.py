"""Initial weights as a function of one seed: the same bits in every build, process and Keras backend.

The architectures ask for He's initialisation (arXiv:1502.01852), which keeps the signal's variance from layer to layer,
where Keras's default is Glorot's. Networks with BatchNorm train either way, but an *untrained* one normalises nothing:
under Glorot's, I3D's features vary by 1e-4 from scan to scan and MobileNetV2's by 1e-13. Such a baseline knows nothing
only because it is mute, and every trained target would look leaky beside it.
"""

import hashlib
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import numpy.typing as npt

_WEIGHTS = 0  # the first of the streams of a run (:mod:`flprivacy.training.draws`)


def initialise(model: keras.Model, seed: int) -> None:
    """Set every weight, as :func:`fresh_weights` draws it, and every dropout generator of ``model`` from ``seed``.

    Raises:
        TypeError: a layer uses an initializer that this function does not know.
    """
    model.set_weights(fresh_weights(model, seed))
    for layer in _leaf_layers(model):
        if isinstance(layer, keras.layers.Dropout):
            state = layer.seed_generator.state  # (2,): seed and counter
            state.assign([int(_generator(seed, layer.name).integers(2**31)), 0])


def fresh_weights(model: keras.Model, seed: int) -> list[npt.NDArray[np.float32]]:
    """Draw all weights of ``model`` from ``seed``, in the order of ``model.weights``; the model stays as it is.

    Each tensor is drawn with NumPy as its layer's initializer says, from a generator of its own that is seeded with
    ``seed`` and the tensor's path. Neither the order of layers nor any global seed plays a part, and layers that come
    with Keras's own initialisation (keras.applications) are drawn in the same way.

    Raises:
        TypeError: a layer uses an initializer that this function does not know.
    """
    drawn = {
        weight.path: _draw(weight, _initializer(layer, weight.name), _generator(seed, weight.path))
        for layer in _leaf_layers(model)
        for weight in layer.weights
    }
    return [drawn[weight.path] for weight in model.weights]


def weights_seed(seed: int, model: int, *, baseline: bool) -> int:
    """Return the seed of a model's initial weights.

    Trained topologies share their start (a siloed target's model 0 starts as the central one), which makes them
    comparable; the untrained baseline's weights are drawn apart from it, so that it is independent of every target.
    """
    sequence = np.random.SeedSequence([_WEIGHTS, seed, int(baseline), model])
    return int(sequence.generate_state(1)[0] >> 1)


@contextmanager
def undisturbed_random() -> Iterator[None]:
    """Give Python's global ``random`` back as it was: Keras draws default seeds from it whenever a layer is made."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def _leaf_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaf_layers(layer)
        else:
            yield layer


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest())])


def _initializer(layer: keras.layers.Layer, weight: str) -> keras.initializers.Initializer:
    if isinstance(layer, keras.layers.DepthwiseConv2D) and weight == "kernel":
        return layer.depthwise_initializer
    return getattr(layer, f"{weight}_initializer")


def _draw(
    weight: keras.Variable, initializer: keras.initializers.Initializer, generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    shape = tuple(weight.shape)
    if isinstance(initializer, keras.initializers.Zeros):
        return np.zeros(shape, np.float32)
    if isinstance(initializer, keras.initializers.Ones):
        return np.ones(shape, np.float32)
    if isinstance(initializer, keras.initializers.VarianceScaling) and initializer.distribution == "uniform":
        limit = math.sqrt(3.0 * initializer.scale / _fan(shape, initializer.mode))
        return generator.uniform(-limit, limit, shape).astype(np.float32)
    raise TypeError(f"{weight.path}: initializer {type(initializer).__name__} is not known here; add it to _draw")


def _fan(shape: tuple[int, ...], mode: str) -> float:
    """Return the fan of a kernel (*window, inputs, outputs) that VarianceScaling's ``mode`` names."""
    window = math.prod(shape[:-2])
    fans = {"fan_in": window * shape[-2], "fan_out": window * shape[-1]}
    return fans.get(mode, sum(fans.values()) / 2)
