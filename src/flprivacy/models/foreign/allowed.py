"""Which parts of a network's description may be built: layers and operations that compute, and nothing else.

Keras's ``safe_mode`` refuses Lambda layers. It does not refuse layers that read files (vocabularies), wrap other
frameworks' code or graphs, or functions looked up by name; a list of what is allowed does.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flprivacy.core.errors import TargetError
from flprivacy.models.foreign.description import code_in, inside, nodes

MOST_NUMBERS = 1 << 26  # of one tensor for one scan: 256 MiB
LAYERS = frozenset(
    {"InputLayer", "Dense", "EinsumDense", "Identity", "Activation", "ActivityRegularization"}
    | {f"Conv{n}D{kind}" for n in (1, 2, 3) for kind in ("", "Transpose")}
    | {f"{kind}Conv{n}D" for n in (1, 2) for kind in ("Depthwise", "Separable")}
    | {f"{kind}Pooling{n}D" for n in (1, 2, 3) for kind in ("Max", "Average", "GlobalMax", "GlobalAverage")}
    | {f"Adaptive{kind}Pooling{n}D" for n in (1, 2, 3) for kind in ("Max", "Average")}
    | {f"{kind}{n}D" for n in (1, 2, 3) for kind in ("Cropping", "ZeroPadding", "UpSampling", "SpatialDropout")}
    | {f"{kind}Normalization" for kind in ("Batch", "Layer", "Group", "RMS", "Unit")}
    | {"Normalization", "Rescaling", "Resizing", "CenterCrop", "Masking"}
    | {"ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax"}
    | {"Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise"}
    | {f"Random{kind}" for kind in ("Flip", "Rotation", "Zoom", "Translation", "Contrast", "Brightness")}
    | {"Flatten", "Reshape", "Permute", "RepeatVector"}
    | {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"}
    | {"Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention"}
    | {"LSTM", "GRU", "SimpleRNN", "Bidirectional", "TimeDistributed"}
)
_NETWORKS = frozenset({"Functional", "Sequential"})
_MODULES: Mapping[str, frozenset[str] | None] = {  # None: anything in it
    "keras.layers": LAYERS,
    "keras": frozenset({"Sequential", "DTypePolicy"}),
    "keras.src.models.functional": _NETWORKS,
    "keras.src.models.sequential": _NETWORKS,
    "keras.initializers": None,
    "keras.regularizers": None,
    "keras.constraints": None,
    "keras.dtype_policies": frozenset({"DTypePolicy"}),
    "keras.src.ops.core": frozenset({"Cast"}),  # which Keras 3.5 to 3.9 write before a float32 head
    "keras.src.ops.numpy": None,
    "keras.src.ops.nn": None,
    "builtins": frozenset(),
}
_REFUSED = frozenset({"DotProductAttention", "CTCLoss", "CTCDecode"})  # need far more memory than their output tells
_OTHERWISE = "export the network as ONNX, or bring its answers as arrays (.npz)"
_TENSOR = "__keras_tensor__"  # the output of another layer
_CONSTANTS = ("__numpy__", "__tensor__")
_VALUES = frozenset({_TENSOR, *_CONSTANTS, "__slice__", "__ellipsis__"})
_LEFT_OUT = frozenset({"shared_object_id", "lora_rank", "lora_alpha"})
_TYPES = frozenset({"bool"} | {f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)})


def check_allowed(config: Mapping[str, Any], path: Path) -> None:
    """Refuse a description that asks for anything but known layers and operations, before anything is built."""
    for fault in _faults(config):
        raise TargetError(f"{path}: {fault}")


def _faults(config: Mapping[str, Any]) -> Iterator[str]:
    code, kind = code_in(config), config.get("class_name")
    if code:
        yield (
            f"its network has a layer of code ({code}), and code of a file is never run; replace the layer by layers "
            "of Keras and save again"
        )
    if str(config.get("module", "tf_keras")).startswith(("tf_keras", "keras.src.engine", "keras.engine")):
        yield (
            "was saved by Keras 2, whose .keras files Keras 3 does not read; load it with Keras 2 (tf_keras), save it "
            "as .h5, load that with Keras 3 (keras.models.load_model) and save it as .keras"
        )
    if kind not in _NETWORKS:
        yield f"is a {_short(kind)}, a class of somebody's own; save a Functional or Sequential model, or {_OTHERWISE}"
    for node in nodes(config):
        if isinstance(node, Mapping):
            if "class_name" in node or "registered_name" in node:
                yield from _node_faults(node)
            yield from _shape_faults(node)
            yield from _call_faults(node.get("inbound_nodes"))


def _node_faults(node: Mapping[str, Any]) -> Iterator[str]:
    name, module, registered = (node.get(key) for key in ("class_name", "module", "registered_name"))
    inner = inside(node)
    if name in _CONSTANTS and str(inner.get("dtype")) not in _TYPES:
        yield f"its description holds a constant of type {_short(str(inner.get('dtype')))}; use numbers"
    if inner.get("unroll"):
        yield f"its layer {_short(inner.get('name'))} is unrolled; save it with unroll=False"
    if name in _VALUES and "module" not in node:
        return
    known = _MODULES.get(module, frozenset()) if isinstance(module, str) else frozenset()
    if name == "QuantizedDTypePolicy":
        yield "its weights are quantised, which are not read; save the network as it was before quantize()"
    if ">" in str(registered):  # as Keras writes names of what users register
        yield (
            f"its network has a part of somebody's own ({_short(registered)}), whose code is not in the file; use "
            f"layers of keras.layers, or {_OTHERWISE}"
        )
    listed = isinstance(name, str) and (known is None or name in known) and name not in _REFUSED
    if not listed or registered not in (None, name):
        yield (
            f"its description asks for {_short(name)} of {_short(module)}, which is not among the layers and "
            f"operations that are built from files; use layers of keras.layers that compute and nothing else, or "
            f"{_OTHERWISE}"
        )


def _shape_faults(node: Mapping[str, Any]) -> Iterator[str]:
    for name, sizes in node.items():
        if name.endswith("shape") and isinstance(sizes, list):
            known = [size for size in sizes if isinstance(size, (int, float))]
            if math.prod(known) > MOST_NUMBERS:
                yield (
                    f"its description has {name[:80]} {str(sizes)[:80]}; at most {MOST_NUMBERS} numbers for one scan "
                    "can be held: make the network smaller"
                )


def _call_faults(calls: Any) -> Iterator[str]:
    """Find calls of layers with constants alone: they would be computed while the network is built, at any size."""
    for call in calls if isinstance(calls, list) else ():
        fed = any(isinstance(node, Mapping) and node.get("class_name") == _TENSOR for node in nodes(call))
        if not isinstance(call, list) and not fed:
            yield "its description calls a layer on no other layer's output; save the model again"


def _short(text: Any) -> str:
    return repr(str(text)[:80])


def plain(value: Any) -> Any:
    """Return a description without seeds and ids, which differ by chance, and without low-rank adapters (LoRA), which
    Keras adds to the kernels that it saves.
    """
    if isinstance(value, list):
        return [plain(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    kept = {name: plain(part) for name, part in value.items() if name not in _LEFT_OUT}
    inner = kept.get("config")
    if value.get("module") == "keras.initializers" and isinstance(inner, dict) and "seed" in inner:
        inner["seed"] = None
    return kept
