"""What the description of a network in a checkpoint says: names of layers, input shape, layers of code.

A description is JSON. It is looked at as data; nothing is built from it here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, int, int]

# Code in a file, whatever it is wrapped in.
_CODE_CLASSES = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__", "function")
_MAX_NODES = 1 << 17  # MobileNetV2 has 4,000


@dataclass(frozen=True)
class NamedLayer:
    """A layer's name, and its own layers if it is a network."""

    name: str
    layers: Mapping[str, "NamedLayer"] = field(default_factory=dict)


def named_layers(config: Mapping[str, Any]) -> NamedLayer:
    """Return a network's layers by the keys that weights files give them: class name in snake case, then a number.

    Args:
        config: ``{"class_name": ..., "config": {"name": ..., "layers": [...]}}``.
    """
    inner = inside(config)
    found: dict[str, NamedLayer] = {}
    uses: dict[str, int] = {}
    layers = inner.get("layers")
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, Mapping):
            base = _snake_case(str(layer.get("class_name", "")))
            number = uses.get(base, 0)
            uses[base] = number + 1
            found[f"{base}_{number}" if number else base] = named_layers(layer)
    return NamedLayer(str(inner.get("name", "")), found)


def code_in(config: Any) -> str:
    """Return the class of the first layer of code in a description, empty if there is none."""
    for node in nodes(config):
        if isinstance(node, Mapping):
            name = node.get("class_name")
            if isinstance(name, str) and name in _CODE_CLASSES:
                return name
    return ""


def input_shape(config: Mapping[str, Any]) -> Shape | None:
    """Return (depth, height, width) if the network's first input is (n, depth, height, width, 1)."""
    mappings = (node for node in nodes(config) if isinstance(node, Mapping))
    inner = inside(next((node for node in mappings if node.get("class_name") == "InputLayer"), {}))
    sizes = inner.get("batch_shape", inner.get("batch_input_shape"))
    if isinstance(sizes, list) and len(sizes) == 5 and sizes[4] == 1:
        depth, height, width = sizes[1:4]
        if all(isinstance(size, int) and 0 < size < 1 << 16 for size in sizes[1:4]):
            return depth, height, width
    return None


def sized(config: Mapping[str, Any], sizes: Sequence[int]) -> dict[str, Any]:
    """Return the description of a network with one input for scans of any size, for scans of these sizes."""
    own = dict(inside(config))
    layers = own.get("layers")
    inputs = [one for one in layers if _is_input(one)] if isinstance(layers, list) else []
    found = {name: value for name, value in config.items() if name != "build_config"}
    if not isinstance(layers, list) or len(inputs) != 1:
        return found
    known = inside(inputs[0]).get("batch_shape")
    if not isinstance(known, list) or len(known) < 4 or None not in known[1:4]:
        return found
    whole = [given if given is not None else size for given, size in zip(known[1:4], sizes, strict=True)]
    fixed = inputs[0] | {"config": {**inside(inputs[0]), "batch_shape": [known[0], *whole, *known[4:]]}}
    own["layers"] = [fixed if one is inputs[0] else one for one in layers]
    return found | {"config": own}


def _is_input(layer: Any) -> bool:
    return isinstance(layer, dict) and layer.get("class_name") == "InputLayer"


def inside(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration of a layer or network; empty if it has none."""
    inner = node.get("config")
    return inner if isinstance(inner, Mapping) else {}


def nodes(config: Any) -> Iterator[Any]:
    """Yield every mapping and list of a description, outermost first, in order.

    Raises:
        ValueError: there are too many.
    """
    waiting, seen = [config], 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if seen > _MAX_NODES:
            raise ValueError("its description has too many parts")
        yield node
        inner = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
        waiting += [part for part in reversed(list(inner)) if isinstance(part, (dict, list))]


def _snake_case(name: str) -> str:
    """Return a class's name as Keras writes it in weights files: ``Conv3D`` is ``conv3d``, ``MyLayer`` ``my_layer``."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
