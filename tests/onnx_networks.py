"""ONNX files for tests: networks of Keras exported operator by operator, and small ones as PyTorch exports them.

Keras keeps channels last, ONNX's operators want them second, so each of those stands between two transpositions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 21
_TO_FIRST = {4: [0, 3, 1, 2], 5: [0, 4, 1, 2, 3]}
_TO_LAST = {4: [0, 2, 3, 1], 5: [0, 2, 3, 4, 1]}


class Builder:
    """A graph in the making."""

    def __init__(self, batch: int | str = "n") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}
        self.batch = batch

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def weight(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(values, dtype)
        return name

    def model(self, shape: Sequence[int | str], outputs: Sequence[str], name: str = "scan") -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [self.batch, *shape])],
            [helper.make_tensor_value_info(one, TensorProto.FLOAT, None) for one in outputs],
            [numpy_helper.from_array(values, name) for name, values in self.weights.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def of_keras(network: keras.Model) -> onnx.ModelProto:
    """Export a functional network of the layers that our architectures have; with ``answer`` and ``features``."""
    builder = Builder()
    builder.op("Identity", _walk(network, ["scan"], builder)[0], name="answer")
    return builder.model(network.inputs[0].shape[1:], ["answer"])


def _walk(network: keras.Model, inputs: list[str], builder: Builder) -> list[str]:
    graph = getattr(network, "_functional", None) or network
    made = {id(tensor): name for tensor, name in zip(graph.inputs, inputs, strict=True)}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.is_input:
                continue
            given = [made[id(one)] for one in node.input_tensors]
            outputs = (
                _walk(node.operation, given, builder)
                if isinstance(node.operation, keras.Model)
                else [_HANDLERS[type(node.operation).__name__](builder, node, given)]
            )
            made |= {id(tensor): name for tensor, name in zip(node.output_tensors, outputs, strict=True)}
    return [made[id(one)] for one in graph.outputs]


def _first(handler: Callable[..., str]) -> Callable[..., str]:
    """Let a handler work on tensors with channels second."""

    def handle(b: Builder, node: Any, given: list[str]) -> str:
        rank = len(node.input_tensors[0].shape)
        moved = handler(b, node.operation, b.op("Transpose", given[0], perm=_TO_FIRST[rank]))
        return b.op("Transpose", moved, perm=_TO_LAST[rank])

    return handle


@_first
def _conv(b: Builder, layer: Any, x: str) -> str:
    kernel = np.asarray(layer.kernel)
    groups = 1
    if type(layer).__name__ == "DepthwiseConv2D":
        groups = kernel.shape[-2]
        kernel = kernel.reshape(*kernel.shape[:-2], 1, -1)
    weights = [b.weight(np.moveaxis(kernel, (-1, -2), (0, 1)))]
    weights += [b.weight(layer.bias)] if layer.use_bias else []
    pads = {"auto_pad": "SAME_UPPER" if layer.padding == "same" else "VALID"}
    return _activated(b, layer, b.op("Conv", x, *weights, strides=list(layer.strides), group=groups, **pads))


@_first
def _batch_norm(b: Builder, layer: Any, x: str) -> str:
    size = layer.moving_mean.shape[0]
    gamma = layer.gamma if layer.scale else np.ones(size)
    parts = (gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    return b.op("BatchNormalization", x, *(b.weight(one) for one in parts), epsilon=float(layer.epsilon))


def _dense_norm(b: Builder, node: Any, given: list[str]) -> str:
    if len(node.input_tensors[0].shape) != 2:
        return str(_batch_norm(b, node, given))
    layer = node.operation
    parts = (
        layer.gamma if layer.scale else np.ones(layer.moving_mean.shape[0]),
        layer.beta,
        layer.moving_mean,
        layer.moving_variance,
    )
    return b.op("BatchNormalization", given[0], *(b.weight(one) for one in parts), epsilon=float(layer.epsilon))


@_first
def _group_norm(b: Builder, layer: Any, x: str) -> str:
    scale, bias = b.weight(layer.gamma), b.weight(layer.beta)
    return b.op("GroupNormalization", x, scale, bias, num_groups=layer.groups, epsilon=float(layer.epsilon))


def _pool(kind: str) -> Callable[..., str]:
    @_first
    def pool(b: Builder, layer: Any, x: str) -> str:
        pads = {"auto_pad": "SAME_UPPER" if layer.padding == "same" else "VALID"}
        return b.op(kind, x, kernel_shape=list(layer.pool_size), strides=list(layer.strides), **pads)

    return pool


def _mean(b: Builder, node: Any, given: list[str]) -> str:
    axes = list(range(1, len(node.input_tensors[0].shape) - 1))
    return b.op("ReduceMean", given[0], b.weight(axes, np.int64), keepdims=0)


def _variance(b: Builder, node: Any, given: list[str]) -> str:
    axes = b.weight(list(range(1, len(node.input_tensors[0].shape) - 1)), np.int64)
    centred = b.op("Sub", given[0], b.op("ReduceMean", given[0], axes, keepdims=1))
    return b.op("ReduceMean", b.op("Mul", centred, centred), axes, keepdims=0)


def _dense(b: Builder, node: Any, given: list[str]) -> str:
    layer = node.operation
    weights = [b.weight(layer.kernel)] + ([b.weight(layer.bias)] if layer.use_bias else [])
    return _activated(b, layer, b.op("Gemm", given[0], *weights))


def _activated(b: Builder, layer: Any, x: str) -> str:
    name = layer.activation.__name__
    kinds = {"relu": "Relu", "softmax": "Softmax", "sigmoid": "Sigmoid"}
    if name == "relu6":
        return b.op("Clip", x, b.weight(0.0), b.weight(6.0))
    return x if name == "linear" else b.op(kinds[name], x)


def _activation(b: Builder, node: Any, given: list[str]) -> str:
    if node.operation.name == "features":  # of our trunks
        return b.op("Identity", given[0], name="features")
    return _activated(b, node.operation, given[0])


def _relu(b: Builder, node: Any, given: list[str]) -> str:
    most = node.operation.max_value
    return b.op("Relu", given[0]) if most is None else b.op("Clip", given[0], b.weight(0.0), b.weight(float(most)))


def _rescaled(b: Builder, node: Any, given: list[str]) -> str:
    layer = node.operation
    return b.op("Add", b.op("Mul", given[0], b.weight(layer.scale)), b.weight(layer.offset))


def _sum(b: Builder, node: Any, given: list[str]) -> str:
    number = [one for one in node.arguments.args if isinstance(one, float)]
    return b.op("Add", given[0], b.weight(number[0]) if number else given[1])


def _padded(b: Builder, node: Any, given: list[str]) -> str:
    sides = node.operation.padding
    pads = [0, *(low for low, _ in sides), 0, 0, *(high for _, high in sides), 0]
    return b.op("Pad", given[0], b.weight(pads, np.int64))


def _taken(b: Builder, node: Any, given: list[str]) -> str:
    return b.op("Gather", given[0], b.weight(node.arguments.args[1], np.int64), axis=1)


def _reshaped(b: Builder, node: Any, given: list[str]) -> str:
    sizes = [-1 if size is None else size for size in node.output_tensors[0].shape]
    return b.op("Reshape", given[0], b.weight(sizes, np.int64))


_HANDLERS: dict[str, Callable[..., str]] = {
    "Conv3D": _conv,
    "Conv2D": _conv,
    "DepthwiseConv2D": _conv,
    "BatchNormalization": _dense_norm,
    "GroupNormalization": _group_norm,
    "MaxPooling3D": _pool("MaxPool"),
    "AveragePooling3D": _pool("AveragePool"),
    "GlobalAveragePooling3D": _mean,
    "GlobalAveragePooling2D": _mean,
    "Var": _variance,
    "Sqrt": lambda b, node, given: b.op("Sqrt", given[0]),
    "Dense": _dense,
    "Activation": _activation,
    "Permute": lambda b, node, given: b.op("Transpose", given[0], perm=[0, *node.operation.dims]),
    "ReLU": _relu,
    "Rescaling": _rescaled,
    "Add": _sum,
    "Concatenate": lambda b, node, given: b.op("Concat", *given, axis=-1),
    "ZeroPadding2D": _padded,
    "Take": _taken,
    "Reshape": _reshaped,
    "Dropout": lambda b, node, given: given[0],
}


def monai_resnet(
    shape: tuple[int, int, int], *, norm: str = "instance", classes: int = 3, seed: int = 0, batch: int | str = "n"
) -> onnx.ModelProto:
    """A small 3D residual network as MONAI has them: (n, 1, depth, height, width) in, logits ``logits`` out.

    Features are ``pooled``. ``norm``: ``instance``, or ``batch`` with statistics of some training.
    """
    b, rng = Builder(batch), np.random.default_rng(seed)
    x = _unit(b, "scan", 1, 8, norm, rng, strides=[1, 2, 2])
    for channels, wider in ((8, 16), (16, 32)):
        inner = _unit(b, x, channels, wider, norm, rng, strides=[2, 2, 2])
        inner = _norm(b, _kernel(b, inner, wider, wider, rng), wider, norm, rng)
        skip = _norm(b, _kernel(b, x, channels, wider, rng, size=1, strides=[2, 2, 2]), wider, norm, rng)
        x = b.op("Relu", b.op("Add", inner, skip))
    return _headed(b, x, 32, classes, shape, rng)


def monai_densenet(shape: tuple[int, int, int], *, classes: int = 3, seed: int = 0) -> onnx.ModelProto:
    """A small 3D DenseNet with batch norm before each convolution, as MONAI has them; outputs as the residual one."""
    b, rng = Builder(), np.random.default_rng(seed)
    x, channels = _unit(b, "scan", 1, 8, "batch", rng, strides=[1, 2, 2]), 8
    for layers in (2, 2):
        for _ in range(layers):
            grown = b.op("Relu", _norm(b, x, channels, "batch", rng))
            x = b.op("Concat", x, _kernel(b, grown, channels, 8, rng), axis=1)
            channels += 8
        x = b.op("Relu", _norm(b, x, channels, "batch", rng))
        x = b.op("AveragePool", x, kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    return _headed(b, x, channels, classes, shape, rng)


def _unit(b: Builder, x: str, given: int, wanted: int, norm: str, rng: Any, strides: Sequence[int]) -> str:
    return b.op("Relu", _norm(b, _kernel(b, x, given, wanted, rng, strides=strides), wanted, norm, rng))


def _kernel(
    b: Builder, x: str, given: int, wanted: int, rng: Any, size: int = 3, strides: Sequence[int] = (1,) * 3
) -> str:
    values = rng.normal(0.0, (2.0 / (given * size**3)) ** 0.5, (wanted, given, size, size, size))
    return b.op("Conv", x, b.weight(values), strides=list(strides), pads=[size // 2] * 6)


def _norm(b: Builder, x: str, channels: int, norm: str, rng: Any) -> str:
    scale, shift = b.weight(rng.uniform(0.5, 1.5, channels)), b.weight(rng.normal(0.0, 0.2, channels))
    if norm == "instance":
        return b.op("InstanceNormalization", x, scale, shift)
    mean, variance = b.weight(rng.normal(0.0, 0.1, channels)), b.weight(rng.uniform(0.2, 0.6, channels))
    return b.op("BatchNormalization", x, scale, shift, mean, variance)


def _headed(b: Builder, x: str, channels: int, classes: int, shape: Sequence[int], rng: Any) -> onnx.ModelProto:
    pooled = b.op("Flatten", b.op("GlobalAveragePool", x), name="pooled")
    matrix, bias = (
        b.weight(rng.normal(0.0, channels**-0.5, (classes, channels))),
        b.weight(rng.normal(0.0, 0.1, classes)),
    )
    b.op("Gemm", pooled, matrix, bias, transB=1, name="logits")
    return b.model((1, *shape), ["logits"])
