"""The same graph with fresh weights: what its structure gives away before any training.

An ONNX file holds no initializers, so that every weight is drawn by what it is for. Kernels and matrices come from a
normal distribution of variance 2 / inputs where a rectifier follows (He et al., arXiv:1502.01852), else 1 / inputs;
biases and shifts are 0, scales and variances 1, embeddings have standard deviation .02. Constants of other purpose are
put into random order, so that nothing of what was learnt stays. What is kept: single numbers, and what normalises the
scan before the first layer.

Exporters give one network other names, folded normalisations and turned matrices. So a weight is drawn by what it is
for, its shape and its place among those of the same: however a network was exported, its twin is the same.
"""

import hashlib
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from flprivacy.core.array_types import Array
from flprivacy.core.errors import TargetError
from flprivacy.models.familiar import familiar_kernels
from flprivacy.models.graphs.files import array_of, read_graph
from flprivacy.models.graphs.tracing import Graph
from flprivacy.models.hdf5 import one_line, printable

Shape = tuple[int, ...]
_Purpose = tuple[str, Shape | None, onnx.NodeProto]  # what it is for, its shape there, and the operator that takes it

KERNEL, DENSE, ZERO, ONE, SLOPE, EMBEDDING, KEPT, SHUFFLED = (
    "kernel",
    "dense",
    "zero",
    "one",
    "slope",
    "embedding",
    "kept",
    "shuffled",
)
_NORM = {1: ONE, 2: ZERO}
_RECURRENT = {1: DENSE, 2: DENSE, 3: ZERO}
# operator -> place among its inputs -> what a weight there is for
_ROLES: dict[str, dict[int, str]] = {
    "Conv": {1: KERNEL, 2: ZERO},
    "ConvTranspose": {1: KERNEL, 2: ZERO},
    "Gemm": {1: DENSE, 2: ZERO},
    "MatMul": {0: DENSE, 1: DENSE},
    "BatchNormalization": {1: ONE, 2: ZERO, 3: ZERO, 4: ONE},
    "InstanceNormalization": _NORM,
    "GroupNormalization": _NORM,
    "LayerNormalization": _NORM,
    "RMSNormalization": {1: ONE},
    "LSTM": _RECURRENT,
    "GRU": _RECURRENT,
    "RNN": _RECURRENT,
    "PRelu": {1: SLOPE},
    "Add": {0: ZERO, 1: ZERO},
    "Sub": {0: ZERO, 1: ZERO},
    "Mul": {0: ONE, 1: ONE},
    "Div": {1: ONE},
    "Gather": {0: EMBEDDING},
    "Concat": dict.fromkeys(range(64), EMBEDDING),
    "Resize": {1: KEPT, 2: KEPT},
    "Upsample": {1: KEPT},
}
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_RECTIFIERS = ("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Clip", "Gelu", "HardSwish", "Mish", "Swish")
_GATES = ("Sigmoid", "HardSigmoid", "Softplus", "Erf")  # parts of rectifiers that are written out
_BETWEEN = ("BatchNormalization", "InstanceNormalization", "GroupNormalization", "Add", "Mul", "Reshape", "Identity")
_MOVED = ("Identity", "Cast", "Transpose", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Expand", "Tile")
_SLOPE, _EMBEDDING = 0.25, 0.02
_MOST_CHANNELS = 3


def fresh_graph(path: Path, *, seed: int) -> onnx.ModelProto:
    """Return the network of an ONNX file with every weight drawn from ``seed``.

    Each tensor is drawn from a generator of its own, seeded with ``seed``, what the tensor is for, its shape and how
    many of the same come before it. One of our own architectures gets the fresh weights that ours has of that seed
    (:mod:`flprivacy.models.familiar`).

    Raises:
        TargetError: the file is refused, or computes with weights that are whole numbers.
    """
    model = read_graph(path)
    graph = Graph(model, path)
    purposes = _Purposes(graph, _shapes(model, path)).found
    familiar, generators = _familiar(purposes, graph, seed), _generators(purposes, graph, seed)
    for tensor in model.graph.initializer:
        values = array_of(tensor, path)
        if values.dtype.kind != "f" or values.size < 2:
            continue
        role, shape, node = purposes.get(tensor.name, (SHUFFLED, None, None))
        if role == KEPT:
            continue
        drawn = familiar.get(tensor.name)
        if drawn is None:
            kept = values.T if _is_turned(tensor, purposes, graph) else values  # (outputs, inputs) of a matrix
            generator = generators.get(tensor.name) or _generator(seed, tensor.name)
            drawn = _drawn(kept, role, _deviation(role, shape, node, graph), generator)
            drawn = drawn.T if kept is not values else drawn
        tensor.CopyFrom(numpy_helper.from_array(drawn.astype(values.dtype), tensor.name))
    return model


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest())])


def _generators(purposes: dict[str, _Purpose], graph: Graph, seed: int) -> dict[str, np.random.Generator]:
    """Return the generator of each constant that an operator takes."""
    count, found = Counter[str](), {}
    for name, (role, _, _) in purposes.items():
        tensor = graph.constants[name]
        sizes = [size for size in tensor.dims if size != 1]
        kind = f"{role} {sizes[::-1] if _is_turned(tensor, purposes, graph) else sizes}"
        found[name] = _generator(seed, f"{kind} {count[kind]}")
        count[kind] += 1
    return found


def _is_turned(tensor: onnx.TensorProto, purposes: dict[str, _Purpose], graph: Graph) -> bool:
    """Tell whether a constant is a matrix of (inputs, outputs), not (outputs, inputs)."""
    role, _, node = purposes.get(tensor.name, ("", None, None))
    if role != DENSE or node is None or node.op_type not in ("Gemm", "MatMul") or len(tensor.dims) != 2:
        return False
    place = 1 if node.op_type == "Gemm" or node.input[1] in graph.fixed else 0
    turned = place == 1 and not _flags(node).get("transB")
    name = node.input[place]
    while name != tensor.name and name in graph.made_by:
        turned ^= graph.made_by[name].op_type == "Transpose"
        name = graph.made_by[name].input[0]
    return turned


def _flags(node: onnx.NodeProto) -> dict[str, Any]:
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def _shapes(model: onnx.ModelProto, path: Path) -> dict[str, Shape]:
    """Return the shapes of constants and of what is computed from them."""
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True)
    except (shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise TargetError(f"{path}: shapes contradict each other ({one_line(error)}); export it again") from error
    found = {one.name: tuple(one.dims) for one in model.graph.initializer}
    for one in inferred.graph.value_info:
        sizes = one.type.tensor_type.shape.dim
        if all(size.HasField("dim_value") for size in sizes):
            found.setdefault(one.name, tuple(size.dim_value for size in sizes))
    return found


class _Purposes:
    """What each constant is for, by the first operator that takes it beside what depends on the scan."""

    def __init__(self, graph: Graph, shapes: dict[str, Shape]) -> None:
        self._graph, self._shapes = graph, shapes
        self.found: dict[str, _Purpose] = {}
        behind: set[str] = set()  # tensors behind a layer with weights
        for node in graph.nodes:
            if graph.fixed.issuperset(name for name in node.input if name):
                continue
            deep = not behind.isdisjoint(node.input)
            for place, name in enumerate(node.input):
                if name in graph.fixed:
                    self._note(node, place, name, deep)
            if deep or node.op_type in _WEIGHTED:
                behind.update(node.output)

    def _note(self, node: onnx.NodeProto, place: int, name: str, deep: bool) -> None:
        for taking, where in self._takers(node, place):
            self._note_at(taking, where, name, deep)

    def _takers(self, node: onnx.NodeProto, place: int) -> list[tuple[onnx.NodeProto, int]]:
        """Return what takes a constant that is first brought into a shape that the scan tells, and where."""
        found, waiting = [], [(node, place)]
        while waiting:
            one, where = waiting.pop()
            if one.op_type not in _MOVED or where:
                found.append((one, where))
                continue
            moved = one.output[0]
            waiting += [(use, list(use.input).index(moved)) for use in self._graph.uses[moved]]
        return found

    def _note_at(self, node: onnx.NodeProto, place: int, name: str, deep: bool) -> None:
        shape, plain = self._shapes.get(name), True
        role = _ROLES.get(node.op_type, {}).get(place, SHUFFLED)
        wide = shape is None or sum(size != 1 for size in shape) > 1
        if role in (ZERO, ONE) and len(node.input) == 2 and wide:  # not one number a channel
            role = EMBEDDING if role == ZERO else SHUFFLED
        waiting = [name]
        while waiting:
            source = waiting.pop()
            maker = self._graph.made_by.get(source)
            if maker is not None:
                plain = plain and maker.op_type in _MOVED
                waiting += maker.input[:1] if maker.op_type in _MOVED else [one for one in maker.input if one]
            elif source in self._graph.constants:
                self._assign(source, role if plain else SHUFFLED, shape, node, deep)

    def _assign(self, source: str, role: str, shape: Shape | None, node: onnx.NodeProto, deep: bool) -> None:
        tensor = self._graph.constants[source]
        kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
        if role in (KERNEL, DENSE) and tensor.data_type not in kinds:
            raise TargetError(
                f"{self._graph.path}: weights {printable(source[:80])!r} are whole numbers, which cannot be drawn "
                "anew; export the network in float32"
            )
        arithmetic = len(node.input) == 2 and node.op_type not in _WEIGHTED
        if arithmetic and not deep and math.prod(tensor.dims) <= _MOST_CHANNELS:
            role = KEPT  # normalises the scan
        self.found.setdefault(source, (role, shape, node))


def _familiar(purposes: dict[str, _Purpose], graph: Graph, seed: int) -> dict[str, Array]:
    """Return the kernels of our own network by name; nothing where the graph is another."""
    kernels: dict[str, tuple[int, ...]] = {}  # name -> our axes as places among the tensor's
    for name, (role, shape, node) in purposes.items():
        if role not in (KERNEL, DENSE):
            continue
        own = _our_axes(node, len(graph.constants[name].dims))
        if own is None or shape != tuple(graph.constants[name].dims):
            return {}
        kernels[name] = own
    shapes = [tuple(graph.constants[name].dims[axis] for axis in axes) for name, axes in kernels.items()]
    drawn = familiar_kernels(shapes, seed=seed) or []
    pairs = zip(kernels.items(), drawn, strict=False)
    return {name: values.transpose(np.argsort(axes)) for (name, axes), values in pairs}


def _our_axes(node: onnx.NodeProto, axes: int) -> tuple[int, ...] | None:
    """Return where (*window, inputs, outputs) lie in a weight; None for an operator that our networks do not have."""
    flags = _flags(node)
    if node.op_type == "Conv":
        # (output, input of its group, *window); one input a group is a depthwise kernel, (*window, input, 1) in ours
        return (*range(2, axes), *((0, 1) if flags.get("group", 1) > 1 else (1, 0)))
    if node.op_type in ("Gemm", "MatMul") and axes == 2:
        return (1, 0) if flags.get("transB") else (0, 1)
    return None


def _deviation(role: str, shape: Shape | None, node: onnx.NodeProto | None, graph: Graph) -> float | None:
    """Return the standard deviation of a weight; None where its shape does not tell."""
    if node is None or shape is None or len(shape) < 2 or role not in (KERNEL, DENSE):
        return None
    if role == KERNEL:
        transposed = node.op_type == "ConvTranspose"
        inputs = shape[0] * math.prod(shape[2:]) if transposed else math.prod(shape[1:])
    elif node.op_type == "Gemm":
        inputs = shape[1] if _flags(node).get("transB") else shape[0]
    elif node.op_type == "MatMul":
        inputs = shape[-2] if node.input[1] in graph.fixed else shape[-1]
    else:
        inputs = shape[-1]  # recurrent: (direction, gates, inputs)
    return math.sqrt((2.0 if _rectified(node, graph) else 1.0) / max(inputs, 1))


def _rectified(node: onnx.NodeProto, graph: Graph) -> bool:
    """Tell whether a rectifier follows a layer, at most with a normalisation or a bias between."""
    while True:
        following = [one for one in graph.uses[node.output[0]] if one.op_type != "Shape"]
        behind = [use for one in following if one.op_type in ("Mul", "Div") for use in graph.uses[one.output[0]]]
        gated = any(one.op_type in _GATES for one in (*following, *behind))
        if gated or any(one.op_type in _RECTIFIERS for one in following):
            return True
        if len(following) != 1 or following[0].op_type not in _BETWEEN:
            return False
        taken = following[0].input[:1] if following[0].op_type == "Reshape" else following[0].input
        varying = [name for name in taken if name and name not in graph.fixed]
        if len(varying) != 1:
            return False
        node = following[0]


def _drawn(values: Array, role: str, deviation: float | None, generator: np.random.Generator) -> Array:
    if role in (KERNEL, DENSE) and deviation is not None:
        return generator.normal(0.0, deviation, values.shape)
    if role == EMBEDDING:
        return generator.normal(0.0, _EMBEDDING, values.shape)
    fixed = {ZERO: 0.0, ONE: 1.0, SLOPE: _SLOPE}
    if role in fixed:
        return np.full(values.shape, fixed[role])
    return generator.permutation(values.ravel()).reshape(values.shape)
