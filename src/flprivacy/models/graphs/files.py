"""ONNX files: a protobuf of at most 2 GiB, its tensors inside or in data files beside it, and what it may contain."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from flprivacy.core.errors import TargetError
from flprivacy.core.publish import publish_file
from flprivacy.models.hdf5 import printable
from flprivacy.models.mistaken import mistaken_for

SUFFIX = ".onnx"
MOST_BYTES = (1 << 31) - 1  # of a protobuf, by its own rule
REMEDY = "export the network again"
_PLAIN = {
    onnx.TensorProto.FLOAT: 4,
    onnx.TensorProto.DOUBLE: 8,
    onnx.TensorProto.FLOAT16: 2,
    onnx.TensorProto.INT8: 1,
    onnx.TensorProto.INT16: 2,
    onnx.TensorProto.INT32: 4,
    onnx.TensorProto.INT64: 8,
    onnx.TensorProto.UINT8: 1,
    onnx.TensorProto.BOOL: 1,
}
_TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
MOST_NODES = 1 << 16
_STANDARD = ("", "ai.onnx")
_RANDOM = ("Random", "Bernoulli", "Multinomial")
_STILL_TRAINS = "{!r} still trains; export the network as it answers (model.eval())"
_QUANTISED = ("quantize", "qlinear", "integer")


def read_graph(path: Path) -> onnx.ModelProto:
    """Read a network with all of its tensors, and nothing in it that only people or other programs read.

    Args:
        path: the file; tensors that are not in it are read from files beside it.

    Raises:
        TargetError: it is missing, damaged or too large; holds what :mod:`~flprivacy.models.graphs.files` refuses;
            or names data outside of its folder, or more than is there.
    """
    model = _parsed(path)
    check_graph(model, path)
    beside = _opened(model, path)
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _take_from_beside(tensor, beside, path)
        _check_tensor(tensor, path)
    _strip(model)
    _check_dropouts(model, path)
    for one in (*model.graph.input, *model.graph.output):
        for size in one.type.tensor_type.shape.dim:
            if size.dim_value < 1:  # as some exporters write it where any size will do
                size.ClearField("dim_value")
    return model


def data_files(path: Path) -> tuple[str, ...]:
    """Return the bare names of the files beside an ONNX file that hold tensors of it, which need not be there.

    Raises:
        TargetError: it is no ONNX file, or names a file elsewhere.
    """
    return _named(_parsed(path), path)


def write_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a network to one file, atomically; equal networks give equal bytes."""
    with publish_file(path) as partial:
        partial.write_bytes(model.SerializeToString(deterministic=True))


def _parsed(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise TargetError(f"{path}: no such file; check the path")
    if path.stat().st_size > MOST_BYTES:
        raise TargetError(f"{path}: has more than {MOST_BYTES} bytes, which no ONNX file has; give the exported file")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, RecursionError) as error:
        other = mistaken_for(path) or f"not an ONNX file, or damaged; {REMEDY}"
        raise TargetError(f"{path}: {other}") from error
    if not model.graph.node or not model.opset_import:
        raise TargetError(f"{path}: {mistaken_for(path) or f'holds no network, or is damaged; {REMEDY}'}")
    return model


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _external(tensor: onnx.TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _named(model: onnx.ModelProto, path: Path) -> tuple[str, ...]:
    names = set()
    for tensor in _tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        name = _external(tensor).get("location", "")
        if not name.isprintable() or Path(name).name != name or name in ("", ".", "..") or "\\" in name:
            raise TargetError(
                f"{path}: keeps tensors in {printable(name[:200])!r}; only the bare name of a file beside it is "
                "followed: export the network into one file, or with its data beside it"
            )
        names.add(name)
    return tuple(sorted(names))


def _opened(model: onnx.ModelProto, path: Path) -> dict[str, npt.NDArray[np.uint8]]:
    """Return the bytes of every file beside, mapped."""
    found: dict[str, npt.NDArray[np.uint8]] = {}
    for name in _named(model, path):
        file = path.parent / name
        if not file.is_file() or file.resolve().parent != path.parent.resolve():
            raise TargetError(
                f"{path}: keeps tensors in {name!r}, which is no file beside it; bring it there, too, under this name"
            )
        if file.stat().st_size:
            found[name] = np.memmap(file, mode="r", dtype=np.uint8)
    if sum(map(len, found.values())) + path.stat().st_size > MOST_BYTES:
        raise TargetError(
            f"{path}: has, with the files beside it, more than {MOST_BYTES} bytes; give a smaller network"
        )
    claimed = dict.fromkeys(found, 0)
    for tensor in _tensors(model):
        name = _external(tensor).get("location", "")
        if name in claimed:
            claimed[name] += _bytes_of(tensor, path)
    for name, size in claimed.items():
        if size > len(found[name]):  # one stretch under many names would fill the memory many times
            raise TargetError(f"{path}: claims {size} bytes of {name!r}, which has {len(found[name])}; {REMEDY}")
    return found


def _bytes_of(tensor: onnx.TensorProto, path: Path) -> int:
    if tensor.data_type not in _PLAIN or any(size < 0 for size in tensor.dims):
        raise TargetError(
            f"{path}: tensor {printable(tensor.name[:80])!r} is of an unusual number format or size; export the "
            "network in float32"
        )
    return int(math.prod(tensor.dims)) * _PLAIN[tensor.data_type]


def _take_from_beside(tensor: onnx.TensorProto, beside: dict[str, npt.NDArray[np.uint8]], path: Path) -> None:
    entries, size = _external(tensor), _bytes_of(tensor, path)
    name, start, length = (entries.get(key, "0") for key in ("location", "offset", "length"))
    held = beside.get(name, np.empty(0, np.uint8))
    plain = start.isascii() and start.isdigit() and length.isascii() and length.isdigit() and len(start) < 20
    if not plain or int(start) + size > len(held) or ("length" in entries and int(length) != size):
        raise TargetError(f"{path}: tensor {printable(tensor.name[:80])!r} is not in {name!r} as it says; {REMEDY}")
    tensor.raw_data = held[int(start) : int(start) + size].tobytes()
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")


def _check_tensor(tensor: onnx.TensorProto, path: Path) -> None:
    """Refuse a tensor that holds another number of values than it claims, or values that are none."""
    size, shown = _bytes_of(tensor, path), printable(tensor.name[:80])
    typed = max(len(getattr(tensor, field)) for field in _TYPED)
    held = len(tensor.raw_data) if tensor.HasField("raw_data") else typed * _PLAIN[tensor.data_type]
    if held != size or tensor.HasField("segment"):
        raise TargetError(f"{path}: tensor {shown!r} claims {size} bytes and holds {held}; {REMEDY}")
    values = array_of(tensor, path)
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise TargetError(f"{path}: {shown!r} holds values that are not finite; give another file")


def array_of(tensor: onnx.TensorProto, path: Path) -> npt.NDArray[Any]:
    """Return a tensor's values.

    Raises:
        TargetError: it is damaged.
    """
    try:
        values: npt.NDArray[Any] = numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        shown = printable(tensor.name[:80])
        raise TargetError(f"{path}: tensor {shown!r} is damaged; {REMEDY}") from error
    return values


def _strip(model: onnx.ModelProto) -> None:
    """Leave out what does not compute: notes may hold source paths and names of people."""
    for field in ("doc_string", "metadata_props", "producer_name", "producer_version", "domain", "training_info"):
        model.ClearField(field)
    graph = model.graph
    for field in ("doc_string", "metadata_props", "value_info", "quantization_annotation"):
        graph.ClearField(field)
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    _make_initializers(graph)


def _make_initializers(graph: onnx.GraphProto) -> None:
    """Keep tensors of ``Constant`` nodes as initializers, where all other weights are."""
    kept = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
        else:
            kept.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(copies)


def _check_dropouts(model: onnx.ModelProto, path: Path) -> None:
    """Refuse dropout that goes on at random; where it does not, exporters leave it out, or say so by a constant."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        training = node.input[2] if node.op_type == "Dropout" and len(node.input) > 2 else ""
        if training and (training not in constants or array_of(constants[training], path).any()):
            raise TargetError(f"{path}: {_STILL_TRAINS.format('Dropout')}")


def check_graph(model: onnx.ModelProto, path: Path) -> None:
    """Refuse custom operators, functions, control flow, random numbers, quantised weights and unusual tensors.

    Raises:
        TargetError: the first of these, by name, with a remedy.
    """
    if model.functions:
        raise TargetError(
            f"{path}: defines functions of its own; export the network without them, or save it again through "
            "onnx.inliner.inline_local_functions"
        )
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
                "fixed shape, which needs neither, or from PyTorch with dynamo=True"
            )
        if attribute.ref_attr_name or attribute.HasField("sparse_tensor"):
            raise TargetError(f"{path}: operator {name!r} is damaged; export the network again")
    if node.op_type.startswith(_RANDOM):
        raise TargetError(f"{path}: {name!r} draws random numbers; export the network as it answers (model.eval())")
    if any(word in node.op_type.lower() for word in _QUANTISED):
        raise TargetError(f"{path}: {name!r} belongs to quantised weights; export the network in float32")
    if node.op_type == "BatchNormalization" and any(one.name == "training_mode" and one.i for one in node.attribute):
        raise TargetError(f"{path}: {_STILL_TRAINS.format(name)}")
    if node.op_type == "Constant" and (len(node.attribute) != 1 or node.attribute[0].name == "sparse_value"):
        raise TargetError(f"{path}: operator 'Constant' is damaged; export the network again")
