"""Layers whose weights' gradient is known for each scan of a batch, and the layers that treat scans apart.

A network may go through a batch as one only if no layer lets scans of the batch meet: each layer is therefore known by
its very type, and whatever is not known is refused. The tests hold every rule against a loop over scans.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import layers

Tensor = Any
Rule = Callable[[Any, Tensor, "Taps"], Tensor]
"""(layer, inputs, taps) -> outputs; notes in the taps what the gradients of the layer's weights follow from"""

# Convolutions with few positions are faster by one product of patches and gradients for all scans than by a call of
# the backend for each: on two cores with AVX512, by a third at 192 positions and by two thirds at 32.
_FEW_POSITIONS = 256

# Layers without weights that treat each scan apart; any axis that they name is checked.
_APART = (
    layers.InputLayer,
    layers.Activation,
    layers.ReLU,
    layers.Rescaling,
    layers.Add,
    layers.Concatenate,
    layers.Permute,
    layers.Flatten,
    layers.MaxPooling3D,
    layers.AveragePooling3D,
    layers.GlobalAveragePooling3D,
    layers.GlobalMaxPooling3D,
)
_OPERATIONS = ("Add", "Sqrt", "Var")  # of keras.ops, as networks use them outside layers


class UnknownLayerError(Exception):
    """A network has a layer of which it is not known how scans of a batch go through it; says which and why."""


class Taps:
    """What layers with weights note while a group of scans goes through them."""

    def __init__(self) -> None:
        """Note nothing yet."""
        self._tape: tf.GradientTape | None = None
        self._noted: list[tuple[Tensor, Callable[[Tensor], list[tuple[Any, Tensor]]]]] = []

    @contextlib.contextmanager
    def noting(self, tape: tf.GradientTape) -> Iterator[None]:
        """Note what is watched on a tape, from the network's first layer on."""
        self._tape, self._noted = tape, []
        try:
            yield
        finally:
            self._tape = None

    def watch(self, tensor: Tensor, rule: Callable[[Tensor], list[tuple[Any, Tensor]]]) -> None:
        """Have the loss differentiated by a tensor; ``rule`` makes (variable, (scan, ...) gradients) of the result."""
        if self._tape is None:
            raise RuntimeError("a tapped network was called outside of noting()")
        self._tape.watch(tensor)
        self._noted.append((tensor, rule))

    def gradients(self, tape: tf.GradientTape, loss: Tensor) -> dict[int, Tensor]:
        """Return (scan, *shape) gradients of (scan,) losses by ``id`` of the variable; a shared layer's are summed."""
        watched = [tensor for tensor, _ in self._noted]
        found: dict[int, Tensor] = {}
        arrived = tape.gradient(loss, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        for (_, rule), gradient in zip(self._noted, arrived, strict=True):
            for variable, own in rule(gradient):
                found[id(variable)] = found[id(variable)] + own if id(variable) in found else own
        return found


def tapped(model: keras.Model, taps: Taps) -> keras.Model:
    """Return a copy of a network that shares its variables and notes in the taps.

    Raises:
        UnknownLayerError: a layer of which it is not known that it treats scans apart, or how its weights learn.
    """
    if not _is_graph(model):
        raise UnknownLayerError("the network is no graph of layers")
    _refuse_unknown(model)
    copy = keras.models.clone_model(model, clone_function=lambda part: _copied(part, taps), recursive=True)
    for kind in ("trainable_variables", "non_trainable_variables"):
        if [id(v) for v in getattr(copy, kind)] != [id(v) for v in getattr(model, kind)]:
            raise UnknownLayerError(f"the network's {kind} belong to something else than its layers")
    return copy


def _is_graph(operation: Any) -> bool:
    return isinstance(operation, keras.Model) and type(operation).__name__ == "Functional"


def _refuse_unknown(model: keras.Model) -> None:
    for operation in model.operations:
        if _is_graph(operation):
            _refuse_unknown(operation)
        elif isinstance(operation, layers.Layer):
            _refuse_unknown_layer(operation)
        elif type(operation).__name__ not in _OPERATIONS or not type(operation).__module__.startswith("keras."):
            raise UnknownLayerError(f"operation {operation.name!r} ({type(operation).__name__}) is not known")
        elif type(operation).__name__ == "Var" and not _leaves_scans(operation.axis):
            raise UnknownLayerError(f"operation {operation.name!r} reduces over the scans")


def _refuse_unknown_layer(layer: layers.Layer) -> None:
    unlike = _unlike(layer)
    if unlike:
        raise UnknownLayerError(f"layer {layer.name!r} ({type(layer).__name__}) {unlike}")


def _unlike(layer: Any) -> str:
    """Return what sets a layer apart from those that are known; empty for one that is."""
    activation = getattr(layer, "activation", None)
    if type(layer) not in (*_APART, *_RULES, layers.BatchNormalization):
        return "is not known"
    if layer.compute_dtype != "float32":
        return f"computes in {layer.compute_dtype}"
    if activation is not None and not str(activation.__module__).startswith("keras."):
        return "has an activation of the user's own"
    if isinstance(layer, layers.BatchNormalization) and layer.trainable:
        return "normalises across scans"
    if isinstance(layer, layers.Concatenate) and layer.axis in (0, -len(layer.output.shape)):
        return "joins scans"
    if type(layer) in _RULES and not layer.trainable:
        return ""
    if isinstance(layer, layers.Conv3D):
        usual = layer.groups == 1 and set(layer.dilation_rate) == {1} and layer.data_format == "channels_last"
        usual = usual and layer.padding in ("same", "valid")
        return "" if usual and not layer.lora_enabled else "is a convolution of an unusual kind"
    if isinstance(layer, layers.Dense):
        usual = len(layer.input.shape) == 2 and layer.quantization_mode is None
        return "" if usual and not layer.lora_enabled else "is a dense layer of an unusual kind"
    if isinstance(layer, layers.GroupNormalization):
        usual = layer.axis in (-1, len(layer.input.shape) - 1) and layer.center and layer.scale
        return "" if usual else "is a group normalisation of an unusual kind"
    return ""


def _leaves_scans(axis: Any) -> bool:
    axes = (axis,) if isinstance(axis, int) else axis
    return axes is not None and min(axes) > 0


def _copied(operation: Any, taps: Taps) -> Any:
    if isinstance(operation, layers.Layer) and operation.weights:
        return _Tapped(operation, taps)
    return type(operation).from_config(operation.get_config())


class _Tapped(layers.Layer):  # type: ignore[misc]  # Keras is untyped
    """Stands for a layer with weights: computes the same with the same variables, and notes what it takes."""

    def __init__(self, layer: Any, taps: Taps) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.layer = layer
        self._taps = taps
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)

    def call(self, inputs: Tensor, mask: None = None) -> Tensor:
        if not self.layer.trainable:
            return self.layer.call(inputs)
        return _RULES[type(self.layer)](self.layer, inputs, self._taps)


def _convolution(layer: Any, inputs: Tensor, taps: Taps) -> Tensor:
    kernel = tf.convert_to_tensor(layer.kernel)
    strides, padding = layer.strides, layer.padding.upper()
    outputs = tf.nn.conv3d(inputs, kernel, [1, *strides, 1], padding)
    if layer.use_bias:
        outputs = tf.nn.bias_add(outputs, tf.convert_to_tensor(layer.bias))

    def own(gradient: Tensor) -> list[tuple[Any, Tensor]]:
        few = math.prod(gradient.shape[1:4]) <= _FEW_POSITIONS
        by = _kernels_by_patches if few else _kernels_by_scan
        found = [(layer.kernel, by(inputs, gradient, tuple(kernel.shape), strides, padding))]
        return [*found, (layer.bias, tf.reduce_sum(gradient, [1, 2, 3]))] if layer.use_bias else found

    taps.watch(outputs, own)
    return layer.activation(outputs)


def _kernels_by_scan(inputs: Tensor, gradient: Tensor, shape: Any, strides: Any, padding: str) -> Tensor:
    """Return (scan, *shape) gradients, by one call of the backend a scan."""
    scans = zip(tf.split(inputs, inputs.shape[0]), tf.split(gradient, inputs.shape[0]), strict=True)
    settings = {"filter_sizes": shape, "strides": [1, *strides, 1], "padding": padding}
    return tf.stack([tf.raw_ops.Conv3DBackpropFilterV2(input=x, out_backprop=g, **settings) for x, g in scans])


def _kernels_by_patches(inputs: Tensor, gradient: Tensor, shape: Any, strides: Any, padding: str) -> Tensor:
    """Return (scan, *shape) gradients, as products of what each output saw and the gradient there."""
    size, positions = tuple(shape[:3]), tuple(gradient.shape[1:4])
    if padding == "SAME":
        inputs = tf.pad(inputs, _padding(tuple(inputs.shape[1:4]), size, strides, positions))
    grid = tuple(inputs.shape[1:4])
    seen = _flat_indices(positions, strides, grid)[:, None] + _flat_indices(size, (1, 1, 1), grid)
    flat = tf.reshape(inputs, [inputs.shape[0], math.prod(grid), shape[3]])
    patches = tf.reshape(tf.gather(flat, seen, axis=1), [inputs.shape[0], len(seen), math.prod(shape[:4])])
    kernels = tf.matmul(patches, tf.reshape(gradient, [inputs.shape[0], len(seen), shape[4]]), transpose_a=True)
    return tf.reshape(kernels, [inputs.shape[0], *shape])


def _padding(extent: Any, size: Any, strides: Any, positions: Any) -> list[tuple[int, int]]:
    """Return how much ``same`` adds before and behind each axis."""
    missing = [max((p - 1) * step + k - n, 0) for n, k, step, p in zip(extent, size, strides, positions, strict=True)]
    return [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)]


def _flat_indices(counts: Any, strides: Any, grid: Any) -> npt.NDArray[np.int32]:
    """Return where the points of a regular lattice lie in a flattened grid."""
    axes = np.meshgrid(*(np.arange(n) * step for n, step in zip(counts, strides, strict=True)), indexing="ij")
    return np.asarray(np.ravel_multi_index([a.ravel() for a in axes], grid), dtype=np.int32)


def _dense(layer: Any, inputs: Tensor, taps: Taps) -> Tensor:
    outputs = tf.matmul(inputs, tf.convert_to_tensor(layer.kernel))
    if layer.use_bias:
        outputs = tf.nn.bias_add(outputs, tf.convert_to_tensor(layer.bias))

    def own(gradient: Tensor) -> list[tuple[Any, Tensor]]:
        found = [(layer.kernel, inputs[:, :, None] * gradient[:, None, :])]
        return [*found, (layer.bias, gradient)] if layer.use_bias else found

    taps.watch(outputs, own)
    return layer.activation(outputs) if layer.activation is not None else outputs


def _group_normalization(layer: Any, inputs: Tensor, taps: Taps) -> Tensor:
    """Normalise (Wu and He, arXiv:1803.08494) with each scan's own copy of scale and offset, which are few numbers."""
    scans, channels = inputs.shape[0], inputs.shape[-1]
    scale = tf.tile(tf.convert_to_tensor(layer.gamma)[None], [scans, 1])
    offset = tf.tile(tf.convert_to_tensor(layer.beta)[None], [scans, 1])
    taps.watch(scale, lambda gradient: [(layer.gamma, gradient)])
    taps.watch(offset, lambda gradient: [(layer.beta, gradient)])
    flat = tf.reshape(inputs, [scans, -1, channels])
    return tf.reshape(_normalize(flat, scale, offset, layer.groups, layer.epsilon), inputs.shape)


def _normalize(x: Tensor, scale: Tensor, offset: Tensor, groups: int, epsilon: float) -> Tensor:
    """Return (scan, position, channel) normalised values; by hand, in half the passes of the backend's own gradient."""
    scans, positions, channels = x.shape
    members = channels // groups
    count = positions * members

    def mean(sums: Tensor) -> Tensor:
        """Return (scan, 1, channel) means over each group of (scan, channel) sums over positions."""
        of_group = tf.reduce_sum(tf.reshape(sums, [scans, groups, members]), axis=2) / count
        return tf.repeat(of_group, members, axis=1)[:, None]

    def normalized(x: Tensor, scale: Tensor, offset: Tensor) -> tuple[Tensor, Callable[[Tensor], Any]]:
        centred = x - mean(tf.reduce_sum(x, axis=1))
        inverse = tf.math.rsqrt(mean(tf.reduce_sum(tf.square(centred), axis=1)) + epsilon)
        gain = inverse * scale[:, None]

        def backward(gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            by_offset = tf.reduce_sum(gradient, axis=1)
            by_scale = tf.reduce_sum(gradient * centred, axis=1) * inverse[:, 0]
            level, slope = mean(scale * by_offset) * inverse, mean(scale * by_scale) * tf.square(inverse)
            return gradient * gain - (centred * slope + level), by_scale, by_offset

        return centred * gain + offset[:, None], backward

    return tf.custom_gradient(normalized)(x, scale, offset)


_RULES: dict[type, Rule] = {
    layers.Conv3D: _convolution,
    layers.Dense: _dense,
    layers.GroupNormalization: _group_normalization,
}
