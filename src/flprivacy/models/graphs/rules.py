"""What a graph may contain: operators of the ONNX standard that only compute, each once for a scan."""

from pathlib import Path

import onnx

from flprivacy.core.errors import TargetError
from flprivacy.models.hdf5 import printable

MOST_NODES = 1 << 16
_STANDARD = ("", "ai.onnx")
_RANDOM = ("Random", "Bernoulli", "Multinomial")
_QUANTISED = ("quantize", "qlinear", "integer")


def check_graph(model: onnx.ModelProto, path: Path) -> None:
    """Refuse custom operators, functions, control flow, random numbers, quantised weights and unusual tensors.

    Raises:
        TargetError: the first of these, by name, with a remedy.
    """
    if model.functions:
        raise TargetError(f"{path}: defines functions of its own; export the network with functions inlined")
    if len(model.graph.node) > MOST_NODES:
        raise TargetError(f"{path}: has {len(model.graph.node)} operators; at most {MOST_NODES} are read")
    if model.graph.sparse_initializer:
        raise TargetError(f"{path}: holds sparse tensors; export the network with plain ones")
    for node in model.graph.node:
        _check_node(node, path)


def _check_node(node: onnx.NodeProto, path: Path) -> None:
    name = printable(node.op_type[:60])
    if node.domain not in _STANDARD or not onnx.defs.has(node.op_type):
        domain = printable(node.domain[:60])
        raise TargetError(
            f"{path}: operator {name!r} of domain {domain!r} is not ONNX's own; export the network without custom "
            "operators, and before any program optimised it"
        )
    for attribute in node.attribute:
        if attribute.HasField("g") or attribute.graphs:
            raise TargetError(
                f"{path}: {name!r} runs parts of the network in a loop or on a condition; export it for scans of one "
                "fixed shape, which needs neither"
            )
        if attribute.ref_attr_name or attribute.HasField("sparse_tensor"):
            raise TargetError(f"{path}: operator {name!r} is damaged; export the network again")
    if node.op_type.startswith(_RANDOM):
        raise TargetError(f"{path}: {name!r} draws random numbers; export the network as it answers (model.eval())")
    if any(word in node.op_type.lower() for word in _QUANTISED):
        raise TargetError(f"{path}: {name!r} belongs to quantised weights; export the network in float32")
    if node.op_type == "BatchNormalization" and any(one.name == "training_mode" and one.i for one in node.attribute):
        raise TargetError(f"{path}: {name!r} still trains; export the network as it answers (model.eval())")
    if node.op_type == "Constant" and (len(node.attribute) != 1 or node.attribute[0].name == "sparse_value"):
        raise TargetError(f"{path}: operator 'Constant' is damaged; export the network again")
