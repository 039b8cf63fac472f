"""What a graph tells of itself: its input, how it normalises that, its features, and what it answers with."""

import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from flprivacy.core.errors import TargetError
from flprivacy.models.foreign.contract import Step
from flprivacy.models.graphs.files import REMEDY, array_of
from flprivacy.models.hdf5 import printable

DENSE = ("Gemm", "MatMul")
_SHOWN = 800  # characters of a list of names
_CANDIDATES = 12
# Operators which do not change what values mean.
_MOVING = ("Identity", "Cast", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Dropout")
_SAMPLING = (*_MOVING, "Pad", "Expand", "Resize", "Slice", "Gather", "Clip")
_LINEAR = ("Gemm", "MatMul", "Conv", "Add", "Sub", "LogSoftmax", "GlobalAveragePool", "AveragePool", "ReduceMean")
_ARITHMETIC: dict[str, Callable[[float, bool], Step | None]] = {
    "Mul": lambda number, _: (number, 0.0),
    "Add": lambda number, _: (1.0, number),
    "Sub": lambda number, turned: (-1.0, number) if turned else (1.0, -number),
    "Div": lambda number, turned: None if turned or not number else (1.0 / number, 0.0),
}


class Statistics(NamedTuple):
    """What a batch normalisation keeps of its input."""

    tensor: str
    mean: npt.NDArray[Any]  # (channel,)
    variance: npt.NDArray[Any]  # (channel,)
    epsilon: float


class Graph:
    """A network with every tensor's place in it."""

    def __init__(self, model: onnx.ModelProto, path: Path) -> None:
        """Index a network; ``path`` is shown in errors.

        Raises:
            TargetError: it has not one input, or its operators are out of order.
        """
        self.path, self.nodes = path, list(model.graph.node)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.outputs = [one.name for one in model.graph.output]
        self.made_by = {name: node for node in self.nodes for name in node.output if name}
        self.uses: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
        inputs = [one for one in model.graph.input if one.name not in self.constants]
        if len(inputs) != 1:
            names = printable(", ".join(one.name for one in inputs))[:_SHOWN]
            raise TargetError(
                f"{path}: has {len(inputs)} inputs ({names}); needs one, which takes the scan: export it with its "
                "weights, or give what it answers as arrays"
            )
        self.input = inputs[0]
        self.fixed = set(self.constants)  # tensors that do not depend on the scan
        known = {self.input.name, *self.fixed}
        for node in self.nodes:
            read = [name for name in node.input if name]
            if not known.issuperset(read):
                raise TargetError(f"{path}: an operator {node.op_type[:40]!r} reads what nothing made; {REMEDY}")
            for name in set(read):
                self.uses[name].append(node)
            if self.fixed.issuperset(read):
                self.fixed.update(node.output)
            known.update(node.output)

    def sizes(self) -> tuple[int | None, ...]:
        """Return the sizes of the input's axes, the batch's first; None where any will do."""
        kind = self.input.type.tensor_type
        if not kind.HasField("shape"):
            raise TargetError(f"{self.path}: does not tell how many axes its input has; {REMEDY}")
        return tuple(one.dim_value if one.HasField("dim_value") else None for one in kind.shape.dim)

    def output(self, name: str) -> str:
        """Return the output to audit: the one of that name, or the only one.

        Raises:
            TargetError: there is no such output, or a choice is needed.
        """
        if not self.outputs:
            raise TargetError(f"{self.path}: has no output; {REMEDY}")
        listed = printable(", ".join(self.outputs))[:_SHOWN]
        if name and name not in self.outputs:
            raise TargetError(f"{self.path}: has no output {name[:80]!r}; output may be one of: {listed}")
        if not name and len(self.outputs) != 1:
            raise TargetError(
                f"{self.path}: has {len(self.outputs)} outputs ({listed}); say which one is audited with output=NAME"
            )
        return name or self.outputs[0]

    def features(self, name: str, output: str) -> str:
        """Return the tensor that is the features: of that name, or what the last dense layer before an output takes.

        Raises:
            TargetError: there is no such tensor, or no dense layer.
        """
        if name:
            if name not in self.made_by or name in self.fixed:
                raise TargetError(
                    f"{self.path}: has no tensor {name[:80]!r}; feature_layer may be {self._candidates()}"
                )
            return name
        upstream = self._upstream(output)
        for node in reversed(self.nodes):
            if node.op_type in DENSE and id(node) in upstream and self._is_layer(node):
                return str(node.input[0])
        raise TargetError(
            f"{self.path}: ends in no dense layer, so it does not tell which tensor is its features; give "
            f"feature_layer, such as {self._candidates()}"
        )

    def _is_layer(self, node: onnx.NodeProto) -> bool:
        return node.input[0] not in self.fixed and node.input[1] in self.fixed and node.input[0] in self.made_by

    def _candidates(self) -> str:
        names = [node.input[0] for node in self.nodes if node.op_type in DENSE and self._is_layer(node)]
        names += [name for node in self.nodes for name in node.output[:1] if name not in self.fixed]
        return printable(", ".join(dict.fromkeys(names[-_CANDIDATES:])))[:_SHOWN]

    def _upstream(self, tensor: str) -> set[int]:
        found: set[int] = set()
        waiting = [tensor]
        while waiting:
            node = self.made_by.get(waiting.pop())
            if node is not None and id(node) not in found:
                found.add(id(node))
                waiting += node.input
        return found

    def normalisations(self) -> list[Step]:
        """Return the steps in which it normalises a scan before anything else; none where it does not."""
        found, tensor = [], self.input.name
        while len(self.uses[tensor]) == 1:
            node = self.uses[tensor][0]
            step = self._step(node, tensor)
            if step is None:
                break
            found += [step] if step != (1.0, 0.0) else []
            tensor = node.output[0]
        return found

    def _step(self, node: onnx.NodeProto, tensor: str) -> Step | None:
        """Return what one operator does to values; None where it is no normalisation."""
        copies = node.op_type == "Concat" and set(node.input) == {tensor}
        if node.op_type in _SAMPLING or copies:
            return 1.0, 0.0
        if node.op_type == "BatchNormalization":
            mean, variance = (self._mean_of(name) for name in node.input[3:5])
            if mean is None or variance is None:
                return None
            scale = 1.0 / math.sqrt(max(variance, 1e-14))
            return scale, -mean * scale
        if node.op_type not in _ARITHMETIC or len(node.input) != 2:
            return None
        turned = node.input[1] == tensor
        number = self._mean_of(node.input[0 if turned else 1])
        return None if number is None else _ARITHMETIC[node.op_type](number, turned)

    def _mean_of(self, name: str) -> float | None:
        """Return the mean of a constant of few numbers, one for each channel; None for any other tensor."""
        values = self.array(name)
        return float(np.mean(values)) if values is not None and 1 <= values.size <= 3 else None

    def array(self, name: str) -> npt.NDArray[Any] | None:
        """Return the values of a constant; None for a tensor that is none."""
        if name in self.constants:
            return array_of(self.constants[name], self.path)
        node = self.made_by.get(name)
        if node is not None and node.op_type == "Constant":
            return np.asarray(helper.get_attribute_value(node.attribute[0]))
        return None

    def kept_statistics(self) -> Statistics | None:
        """Return what the first batch normalisation keeps of the values that it saw in training; None: there is none.

        One that normalises by the batch itself keeps nothing.
        """
        for node in self.nodes:
            flags = {one.name: helper.get_attribute_value(one) for one in node.attribute}
            if node.op_type == "BatchNormalization" and not flags.get("training_mode"):
                mean, variance = (self.array(name) for name in node.input[3:5])
                if mean is not None and variance is not None:
                    return Statistics(node.input[0], mean, variance, float(flags.get("epsilon", 1e-5)))
        return None

    def activation(self, output: str) -> str:
        """Return the activation that an output comes from, as Keras calls it; empty where it is another operator's.

        What is multiplied by a number, such as logits by a temperature, is of no activation.
        """
        node, scaled = self._unmoved(output), False
        while node is not None and (taken := self._scaled(node)):
            node, scaled = self._unmoved(taken), True
        if node is None or (scaled and node.op_type not in _LINEAR):
            return ""
        return "linear" if node.op_type in _LINEAR else node.op_type.lower()

    def _unmoved(self, tensor: str) -> onnx.NodeProto | None:
        """Return the operator that a tensor's values come from."""
        node = self.made_by.get(tensor)
        while node is not None and node.op_type in _MOVING:
            node = self.made_by.get(node.input[0])
        return node

    def _scaled(self, node: onnx.NodeProto) -> str:
        """Return the tensor that an operator multiplies by one number; empty where it does something else."""
        if node.op_type not in ("Mul", "Div") or len(node.input) != 2:
            return ""
        first, second = node.input
        for tensor, number in ((first, second), (second, first))[: 2 if node.op_type == "Mul" else 1]:
            values = self.array(number)
            if values is not None and values.size == 1:
                return str(tensor)
        return ""

    def channels_last(self, tensor: str) -> bool:
        """Tell whether a tensor's channels are its last axis: operators take them second, unless they are moved."""
        node = self.made_by.get(tensor)
        while node is not None and node.op_type not in ("Conv", "ConvTranspose"):
            if node.op_type == "Transpose":
                order = list(helper.get_attribute_value(node.attribute[0])) if node.attribute else []
                return len(order) > 2 and order[-1] == 1
            if node.op_type in ("MatMul", "LayerNormalization"):
                return True
            moving = [name for name in node.input if name in self.made_by and name not in self.fixed]
            node = self.made_by[moving[0]] if moving else None
        return False
