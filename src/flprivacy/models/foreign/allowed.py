"""Which parts of a network's description may be built: layers and operations that compute, and nothing else.

Keras's ``safe_mode`` refuses Lambda layers. It does not refuse layers that read files (vocabularies), wrap other
frameworks' code or graphs, or functions looked up by name; a list of what is allowed does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flprivacy.core.errors import TargetError
from flprivacy.models.foreign.description import code_in, nodes

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
    "keras.src.ops.numpy": None,
    "keras.src.ops.nn": None,
    "builtins": frozenset(),
}
_VALUES = frozenset({"__keras_tensor__", "__numpy__", "__tensor__", "__slice__", "__ellipsis__"})


def check_allowed(config: Mapping[str, Any], path: Path) -> None:
    """Refuse a description that asks for anything but known layers and operations, before anything is built.

    Raises:
        TargetError: it does.
    """
    code = code_in(config)
    if code:
        raise TargetError(
            f"{path}: its network has a layer of code ({code}), and code of a file is never run; replace the layer by "
            "layers of Keras and save again"
        )
    if str(config.get("module", "")).startswith("tf_keras") or "module" not in config:
        raise TargetError(f"{path}: was saved by Keras 2; load it there and save it with Keras 3 as .keras")
    if config.get("class_name") not in _NETWORKS:
        raise TargetError(
            f"{path}: is a {str(config.get('class_name'))[:80]!r}, a class of somebody's own; save a Functional or "
            "Sequential model"
        )
    for node in nodes(config):
        if isinstance(node, Mapping) and ("class_name" in node or "registered_name" in node):
            _check_node(node, path)


def _check_node(node: Mapping[str, Any], path: Path) -> None:
    name, module, registered = (node.get(key) for key in ("class_name", "module", "registered_name"))
    if name in _VALUES and "module" not in node:
        return
    known = _MODULES.get(module) if isinstance(module, str) else frozenset()
    inside = isinstance(module, str) and module in _MODULES and (known is None or name in known)
    if not inside or not isinstance(name, str) or registered not in (None, name):
        raise TargetError(
            f"{path}: its description asks for {str(name)[:80]!r} of {str(module)[:80]!r}, which is not among the "
            "layers and operations that are built from files; use layers of keras.layers that compute and nothing else"
        )


def plain(value: Any) -> Any:
    """Return a description without what only training needs, and without seeds and ids, which differ by chance."""
    if isinstance(value, list):
        return [plain(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    left_out = {"compile_config", "shared_object_id"}
    kept = {name: plain(part) for name, part in value.items() if name not in left_out}
    if (
        value.get("module") == "keras.initializers"
        and isinstance(kept.get("config"), dict)
        and "seed" in kept["config"]
    ):
        kept["config"]["seed"] = None
    return kept
