"""Networks of the user's own: any ``.keras`` model of Keras's own layers, and the name of its feature layer."""

import copy
import json
import math
import random
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from flprivacy.core.errors import TargetError
from flprivacy.core.publish import publish_file
from flprivacy.core.target_source import CUSTOM
from flprivacy.models.architecture import Shape, TargetModel, scan_input, trunk_model
from flprivacy.models.foreign.allowed import check_allowed, plain
from flprivacy.models.foreign.archive import CONFIG, METADATA, WEIGHTS, unpacked
from flprivacy.models.foreign.checkpoint import opened
from flprivacy.models.foreign.sizes import bounded_building, check_sizes
from flprivacy.models.hdf5 import one_line, printable
from flprivacy.models.initialisation import undisturbed_random

SUFFIX = ".keras"
PROBABILITIES, LOGITS, PROBABILITY, LOGIT = "probabilities", "logits", "probability", "logit"
ANSWERS = (PROBABILITIES, LOGITS, PROBABILITY, LOGIT)
# What Keras raises on descriptions that fit no network; which one depends on the layer.
_REFUSALS = (ValueError, TypeError, KeyError, AttributeError, IndexError, RuntimeError, NotImplementedError, OSError)


@dataclass(frozen=True, kw_only=True, eq=False)
class CustomModel:
    """A network of the user's own."""

    network: keras.Model  # as it was saved
    model: TargetModel  # what attacks use
    config: dict[str, Any]  # its description, without what only training needs
    # what its output is: ``probabilities`` or ``logits`` of several classes, ``probability`` or ``logit`` of one; empty
    # where it is neither, and cannot be attacked as such
    answers: str


def load_custom(path: Path, feature_layer: str, *, answers: str | None = None) -> CustomModel:
    """Build the network of a ``.keras`` file with its weights.

    Every layer of the description must be on the list of those that only compute; Keras builds it in safe mode, and no
    layer gets more numbers than the file holds.

    Args:
        feature_layer: name of the layer whose output is the features; averaged over space where it has any.
        answers: see :class:`CustomModel`; None: found out with two random scans.

    Raises:
        TargetError: the file is damaged, asks for layers that are not allowed, takes no such scans, or has no such
            layer.
    """
    with _unpacked(path) as (config, weights, numbers):
        with undisturbed_random():
            network = _network(config, path, most_numbers=numbers)
        with _refusals(path):
            network.load_weights(weights)
    return _custom(network, config, path, feature_layer, answers)


def fresh_custom(path: Path, feature_layer: str, *, seed: int, answers: str) -> CustomModel:
    """Build the network of a ``.keras`` file with fresh weights, as its own initializers draw them from ``seed``."""
    with _unpacked(path) as (config, _, numbers), undisturbed_random():
        random.seed(seed)  # Keras draws the seed of every initializer from here
        network = _network(config, path, most_numbers=numbers)
    return _custom(network, config, path, feature_layer, answers)


def save_custom(custom: CustomModel, path: Path) -> None:
    """Write a network to a ``.keras`` file, atomically."""
    with TemporaryDirectory(prefix="flprivacy-") as folder, publish_file(path) as partial:
        weights = Path(folder) / WEIGHTS
        custom.network.save_weights(weights)
        with zipfile.ZipFile(partial, "w") as archive:
            archive.writestr(zipfile.ZipInfo(METADATA), json.dumps({"keras_version": keras.__version__}))
            archive.writestr(zipfile.ZipInfo(CONFIG), json.dumps(custom.config, sort_keys=True))
            archive.write(weights, WEIGHTS)


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[dict[str, Any], Path, int]]:
    """Yield a checked description, a checked weights file, and how many numbers that one holds."""
    if not path.name.endswith(SUFFIX):
        raise TargetError(
            f"{path}: a network of your own is read from the .keras file of Keras 3; load this one there "
            "(keras.models.load_model of a whole .h5 model) and save it as .keras"
        )
    with unpacked(path) as (config, weights):
        with _refusals(path):
            check_allowed(config, path)
            checked = plain(config)
        with opened(weights, path) as file:
            numbers = sum(math.prod(tensor.shape) for tensor in file.tensors().values())
        yield checked, weights, numbers


def _network(config: dict[str, Any], path: Path, *, most_numbers: int) -> keras.Model:
    """Build a checked description; its weights are still fresh."""
    with _refusals(path), bounded_building(most_numbers):
        network = keras.saving.deserialize_keras_object(copy.deepcopy(config), safe_mode=True)  # it empties its own
    if not isinstance(network, keras.Model) or not network.built:
        raise TargetError(f"{path}: its network has no fixed input; save it once it was built with scans of its size")
    return network


def _refused() -> tuple[type[Exception], ...]:
    tensorflow = sys.modules.get("tensorflow")  # where it computes, its errors are none of Python's kinds
    return (*_REFUSALS, tensorflow.errors.OpError) if tensorflow else _REFUSALS


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except _refused() as error:
        raise TargetError(f"{path}: Keras cannot build its network ({one_line(error)}); save it again") from error


def _custom(
    network: keras.Model, config: dict[str, Any], path: Path, feature_layer: str, answers: str | None
) -> CustomModel:
    with _refusals(path):
        shape, channels = _scan_shape(network, path)
        check_sizes(network, path)
        features, output = _outputs(network, path, feature_layer)
        kind = _kind_of(network, output, path) if answers is None else answers
        model = _target_model(network, shape, channels, features, output, kind)
    for weight in network.weights:
        if not np.isfinite(np.asarray(weight)).all():
            raise TargetError(f"{path}: {weight.path!r} holds values that are not finite; give another file")
    return CustomModel(network=network, model=model, config=config, answers=kind)


def _scan_shape(network: keras.Model, path: Path) -> tuple[Shape, int]:
    """Return (depth, height, width), and the channels: 0 where the network has no axis for them."""
    inputs = network.inputs
    sizes = tuple(inputs[0].shape[1:]) if len(inputs) == 1 else ()
    known = all(isinstance(size, int) and size >= 1 for size in sizes)
    if not known or len(sizes) not in (3, 4) or (len(sizes) == 4 and sizes[3] not in (1, 3)):
        raise TargetError(
            f"{path}: takes {[tuple(one.shape) for one in inputs]}; needs one input (n, depth, height, width), of "
            "known sizes, with 1 or 3 channels behind or none: put such an input in front and save again"
        )
    return (sizes[0], sizes[1], sizes[2]), sizes[3] if len(sizes) == 4 else 0


def _outputs(network: keras.Model, path: Path, feature_layer: str) -> tuple[Any, Any]:
    """Return the symbolic features and the output."""
    named = {layer.name: layer for layer in network.layers}
    if feature_layer not in named:
        raise TargetError(
            f"{path}: has no layer {feature_layer[:80]!r}; feature_layer may be one of: "
            f"{printable(', '.join(map(str, named)))[:800]}"
        )
    features = named[feature_layer].output  # raises where a layer is used several times
    if not hasattr(features, "shape") or len(features.shape) < 2 or len(network.outputs) != 1:
        raise TargetError(f"{path}: layer {feature_layer!r} or the network gives several outputs; name another layer")
    return features, network.outputs[0]


def _kind_of(network: keras.Model, output: Any, path: Path) -> str:
    """Find out what the output is, from the answers to two random scans."""
    scans = np.random.default_rng(0).random((2, *network.inputs[0].shape[1:]), dtype=np.float32)
    each = [np.asarray(network(scan[None], training=False), dtype=np.float64) for scan in scans]
    answers = np.concatenate(each)
    if not np.isfinite(answers).all():
        raise TargetError(f"{path}: answers a scan with values that are not finite; give another file")
    if len(output.shape) != 2:
        return ""
    inside = bool((answers >= 0.0).all() and (answers <= 1.0).all())
    if answers.shape[1] == 1:
        return PROBABILITY if inside else LOGIT
    return PROBABILITIES if inside and np.allclose(answers.sum(axis=1), 1.0, atol=1e-3) else LOGITS


def _target_model(
    network: keras.Model, shape: Shape, channels: int, features: Any, output: Any, kind: str
) -> TargetModel:
    scan = x = scan_input(shape)  # (n, depth, height, width, 1)
    if channels == 0:
        x = layers.Reshape(shape, name="without_channel")(scan)
    elif channels == 3:
        x = layers.Concatenate(name="grey_to_rgb")([scan, scan, scan])
    both = keras.Model(network.inputs, [features, output], name="network")
    vector, answer = both(x)
    if len(vector.shape) > 2:
        vector = ops.mean(vector, axis=tuple(range(1, len(vector.shape) - 1)))  # over space: (n, channel)
    probabilities = _probabilities(answer, kind)
    whole = keras.Model(scan, vector if probabilities is None else probabilities, name=CUSTOM)
    return TargetModel(
        trunk=trunk_model(scan, vector),
        head=None,
        model=whole,
        architecture=CUSTOM,
        shape=shape,
        n_classes=2 if probabilities is None else int(probabilities.shape[1]),
        probabilities=probabilities,
    )


def _probabilities(answer: Any, kind: str) -> Any:
    """Return (n, class) probabilities from a network's output; None where it is no classifier's."""
    if kind in (PROBABILITY, LOGIT):
        one = ops.sigmoid(answer) if kind == LOGIT else answer
        return ops.concatenate([1.0 - one, one], axis=-1)
    return {PROBABILITIES: lambda: answer, LOGITS: lambda: ops.softmax(answer, axis=-1)}.get(kind, lambda: None)()
