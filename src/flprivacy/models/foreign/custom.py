"""Networks of the user's own: any ``.keras`` model of Keras's own layers, and the name of its feature layer."""

import copy
import json
import math
import random
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from flprivacy.core.errors import TargetError
from flprivacy.core.publish import publish_file
from flprivacy.core.target_source import AXES, CUSTOM, HU_WINDOW, UNIT, range_of
from flprivacy.models.architecture import Shape, TargetModel, trunk_model
from flprivacy.models.familiar import familiar_kernels, kernels_of
from flprivacy.models.foreign.allowed import check_allowed, plain
from flprivacy.models.foreign.answers import NONE
from flprivacy.models.foreign.archive import CONFIG, METADATA, WEIGHTS, unpacked
from flprivacy.models.foreign.checkpoint import opened
from flprivacy.models.foreign.contract import Contract, check_holds, contract_of, scan_shape, shares_of
from flprivacy.models.foreign.description import sized
from flprivacy.models.foreign.keras2 import is_keras2, translated
from flprivacy.models.foreign.outer_layers import kind_of, normalisations, probabilities_of
from flprivacy.models.foreign.parts import features_and_output
from flprivacy.models.foreign.sizes import bounded_building, check_sizes
from flprivacy.models.hdf5 import one_line
from flprivacy.models.initialisation import undisturbed_random
from flprivacy.models.mistaken import mistaken_for

Window = tuple[float, float]

SUFFIX = ".keras"
# What Keras raises on descriptions that fit no network; which one depends on the layer.
_REFUSALS = (ValueError, TypeError, KeyError, AttributeError, IndexError, RuntimeError, NotImplementedError, OSError)


@dataclass(frozen=True, kw_only=True, eq=False)
class CustomModel:
    """A network of the user's own."""

    network: keras.Model  # as it was saved
    model: TargetModel  # what attacks use
    config: dict[str, Any]  # its description, without what only training needs
    facts: dict[str, str]  # NETWORK_FACTS as they were stated or found, empty where they are the usual
    contract: Contract  # who says what it takes
    keras2: bool  # whether Keras 2 wrote the file


def load_custom(
    path: Path, feature_layer: str, *, shape: Shape | None = None, window_hu: Window = HU_WINDOW, **stated: str
) -> CustomModel:
    """Build the network of a ``.keras`` file with its weights.

    Every layer of the description must be on the list of those that only compute; Keras builds it in safe mode, and no
    layer gets more numbers than the file holds.

    Args:
        path: the file.
        feature_layer: name of the layer whose output is the features; averaged over space where it has any.
        shape: (depth, height, width) of the scans of a network that takes any.
        window_hu: what 0 and 1 of the scans stand for.
        stated: of :class:`~flprivacy.core.target_source.TargetSource`: ``output``, ``answers``, ``axes``,
            ``input_range``; what is missing or empty is found out from the file.

    Raises:
        TargetError: the file is damaged, asks for layers that are not allowed, takes no such scans, or has no such
            layer; or it does not tell what must then be stated.
    """
    with _unpacked(path) as (config, weights, numbers, keras2):
        fixed = True  # whether the file gives the sizes of its scans
        if shape is not None:
            own = config
            config = sized(own, [shape[AXES.index(axis)] for axis in stated.get("axes") or AXES])
            fixed = config["config"] == own["config"]
        with undisturbed_random():
            network = _network(config, path, most_numbers=numbers)
        with _refusals(path):
            network.load_weights(weights)
    custom = _custom(network, config, path, feature_layer, stated, window_hu, fixed=fixed)
    return replace(custom, keras2=keras2)


def fresh_custom(path: Path, feature_layer: str, *, seed: int, **stated: str) -> CustomModel:
    """Build the network of a ``.keras`` file with fresh weights, as its own initializers draw them from ``seed``.

    One of our own architectures gets the fresh weights that ours has of that seed.
    """
    with _unpacked(path) as (config, _, numbers, _), undisturbed_random():
        random.seed(seed)  # Keras draws the seed of every initializer from here
        network = _network(config, path, most_numbers=numbers)
    kernels = kernels_of(network)
    for kernel, values in zip(kernels, familiar_kernels([k.shape for k in kernels], seed=seed) or (), strict=False):
        kernel.assign(values)
    return _custom(network, config, path, feature_layer, stated, HU_WINDOW)


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
def _unpacked(path: Path) -> Iterator[tuple[dict[str, Any], Path, int, bool]]:
    """Yield a checked description, a checked weights file, how many numbers it holds, and if Keras 2 wrote both."""
    if not path.name.lower().endswith(SUFFIX):
        other = mistaken_for(path) if path.is_file() else ""
        raise TargetError(
            f"{path}: {other}"
            if other and ".h5" not in other
            else f"{path}: a network of your own is read from the .keras file of Keras 3; load this one there "
            "(keras.models.load_model of a whole .h5 model, load_weights of weights alone) and save it as .keras"
        )
    with unpacked(path) as (config, weights):
        with _refusals(path):
            keras2 = is_keras2(config)
            config = translated(config) if keras2 else config
            check_allowed(config, path)
            checked = plain(config)
        with opened(weights, path) as file:
            numbers = sum(math.prod(tensor.shape) for tensor in file.tensors().values())
        yield checked, weights, numbers, keras2


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
    network: keras.Model,
    config: dict[str, Any],
    path: Path,
    layer: str,
    stated: Mapping[str, str],
    window: Window,
    *,
    fixed: bool = True,
) -> CustomModel:
    with _refusals(path):
        sizes, channels = _input_sizes(network, path, stated.get("axes", ""))
        check_sizes(network, path)
        both, output = features_and_output(network, path, layer, stated.get("output", ""))
        contract = contract_of(sizes, normalisations(network), stated, path, fixed=fixed)
        axes, values = contract.axes, contract.input_range
        bounds = range_of(values, window) or (0.0, 1.0)
        check_holds(both.inputs[0].dtype, bounds, path)
        kind = kind_of(both.outputs[1], _some_answers(both, bounds, path))
        kind = stated.get("answers") or kind
        model = _target_model(both, sizes, channels, axes, bounds, kind)
    for weight in network.weights:
        if not np.isfinite(np.asarray(weight)).all():
            raise TargetError(f"{path}: {weight.path!r} holds values that are not finite; give another file")
    facts = {"output": output, "answers": kind, "axes": axes, "input_range": values}
    usual = {"output": output if len(network.outputs) == 1 else "", "answers": NONE, "axes": AXES, "input_range": UNIT}
    facts = {name: "" if value == usual[name] else value for name, value in facts.items()}
    return CustomModel(network=network, model=model, config=config, facts=facts, contract=contract, keras2=False)


def _input_sizes(network: keras.Model, path: Path, axes: str) -> tuple[Shape, int]:
    """Return the sizes of the three axes, and the channels: 0 where the network has no axis for them."""
    inputs = network.inputs
    sizes = tuple(inputs[0].shape[1:]) if len(inputs) == 1 else ()
    known = all(isinstance(size, int) and size >= 1 for size in sizes)
    if len(sizes) == 4 and sizes[3] in (1, 3) and None in sizes[:3]:
        raise TargetError(f"{path}: takes scans of any size; give theirs, such as shape=24x256x256")
    if len(sizes) == 3 and sizes[2] in (1, 3) and not axes:
        raise TargetError(
            f"{path}: takes {sizes}, as networks of slices (height, width, channel) do, which are not read; apply it "
            "to every slice of a scan (TimeDistributed) and save that, or state axes, if these are a scan's"
        )
    if not known or len(sizes) not in (3, 4) or (len(sizes) == 4 and sizes[3] not in (1, 3)):
        raise TargetError(
            f"{path}: takes {[tuple(one.shape) for one in inputs]}; needs one input (n, depth, height, width), of "
            "known sizes, with 1 or 3 channels behind or none: put such an input in front and save again"
        )
    return (sizes[0], sizes[1], sizes[2]), sizes[3] if len(sizes) == 4 else 0


def _some_answers(both: keras.Model, bounds: tuple[float, float], path: Path) -> Any:
    """Return (2, ...) answers to scans of random values, after refusing a network that gives what is no number."""
    scans = np.random.default_rng(0).uniform(*bounds, (2, *both.inputs[0].shape[1:])).astype(np.float32)
    found = [[np.asarray(one, dtype=np.float64) for one in both(scan[None], training=False)] for scan in scans]
    if not all(np.isfinite(one).all() for answer in found for one in answer):
        raise TargetError(f"{path}: answers a scan with values that are not finite; give another file")
    return np.concatenate([answers for _, answers in found])


def _target_model(
    both: keras.Model, sizes: Shape, channels: int, axes: str, bounds: tuple[float, float], kind: str
) -> TargetModel:
    shape = scan_shape(sizes, axes)
    scan = any_grid()
    x = Regrid(shape, dtype="float32", name="regrid")(scan)  # (n, *shape, 1)
    if bounds != (0.0, 1.0):
        x = layers.Rescaling(bounds[1] - bounds[0], offset=bounds[0], dtype="float32", name="input_range")(x)
    if axes != AXES:
        x = layers.Permute((*(AXES.index(axis) + 1 for axis in axes), 4), name="axes")(x)  # (n, *sizes, 1)
    if channels == 0:
        x = layers.Reshape(sizes, name="without_channel")(x)
    elif channels == 3:
        x = layers.Concatenate(name="grey_to_rgb")([x, x, x])
    if "int" in both.inputs[0].dtype:
        x = ops.cast(ops.round(x), both.inputs[0].dtype)
    vector, answer = both(x)
    if len(vector.shape) > 2:
        vector = ops.mean(vector, axis=tuple(range(1, len(vector.shape) - 1)))  # over space: (n, channel)
    probabilities = probabilities_of(answer, kind)
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


class Regrid(layers.Layer):  # type: ignore[misc]  # Keras comes without types
    """(n, depth, height, width, 1) of any sizes -> (n, *shape, 1): averaged where coarser, else interpolated."""

    def __init__(self, shape: Shape, **kwargs: Any) -> None:
        """Remember the (depth, height, width) to bring scans to."""
        super().__init__(**kwargs)
        self._shape = shape

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of what :meth:`call` gives."""
        return (input_shape[0], *self._shape, 1)

    def call(self, scans: Any) -> Any:
        """Resample each axis whose size differs; others stay as they are, bit for bit."""
        for axis, size in enumerate(self._shape, start=1):
            if scans.shape[axis] != size:
                weights = ops.convert_to_tensor(shares_of(int(scans.shape[axis]), size))
                scans = ops.moveaxis(ops.tensordot(scans, weights, axes=[[axis], [1]]), -1, axis)
        return scans


def any_grid() -> keras.KerasTensor:
    """Return the symbolic input of a trunk that takes scans of any grid."""
    return keras.Input((None, None, None, 1), name="scan")
