"""Descriptions of networks in the ``.keras`` files of Keras 2.13 to 2.15, put as Keras 3 puts them.

Their weights lie in the file as those of Keras 3 do. Nothing is built here, and what is translated is checked as any
other description is.
"""

import re
from collections.abc import Mapping
from typing import Any

_NETWORK = re.compile(r"(?:tf_)?keras\.src\.engine\.(functional|sequential)")
# Settings that Keras 3 does not know; what they stand for is what it does.
_DROPPED = {
    "InputLayer": ("ragged",),
    "DepthwiseConv1D": ("groups",),
    "DepthwiseConv2D": ("groups",),
    "LSTM": ("time_major", "implementation"),
    "GRU": ("time_major", "implementation"),
    "SimpleRNN": ("time_major",),
}


def is_keras2(config: Mapping[str, Any]) -> bool:
    """Tell whether a ``.keras`` file's network was described by Keras 2.13 to 2.15."""
    return _NETWORK.fullmatch(str(config.get("module"))) is not None


def translated(value: Any) -> Any:
    """Return a description, or part of one, as Keras 3 would have written it."""
    if isinstance(value, list):
        return [translated(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    part = {name: translated(inner) for name, inner in value.items()}
    network = _NETWORK.fullmatch(str(part.get("module")))
    if network:
        part["module"] = f"keras.src.models.{network[1]}"
        _renumber(part.get("config"))
    inner, kind = part.get("config"), part.get("class_name")
    if part.get("module") == "keras.mixed_precision" and isinstance(inner, dict):
        return inner.get("name")
    if part.get("module") == "keras.layers" and isinstance(inner, dict) and isinstance(kind, str):
        part["config"] = _settings(kind, inner)
    return part


def _renumber(graph: Any) -> None:
    """Count the calls of networks within from 0: in Keras 2 each has one more, by which it was built."""
    layers = graph.get("layers") if isinstance(graph, dict) else None
    kinds = {one.get("name"): one.get("class_name") for one in layers or () if isinstance(one, dict)}

    def renumber(place: Any, of: tuple[str, ...]) -> Any:
        if isinstance(place, list) and len(place) >= 3 and isinstance(place[0], str) and isinstance(place[1], int):
            return [place[0], place[1] - (kinds.get(place[0]) in of), *place[2:]]
        return [renumber(part, of) for part in place] if isinstance(place, list) else place

    for one in layers or ():
        if isinstance(one, dict):
            one["inbound_nodes"] = renumber(one.get("inbound_nodes"), ("Functional", "Sequential"))
    for name in ("input_layers", "output_layers"):
        if isinstance(graph, dict) and name in graph:
            graph[name] = renumber(graph[name], ("Sequential",))  # of a Functional Keras 3 itself takes one away


def _settings(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    dropped = (*_DROPPED.get(kind, ()), "batch_input_shape")
    found = {name: value for name, value in settings.items() if name not in dropped}
    if kind == "InputLayer" and "batch_input_shape" in settings:
        found["batch_shape"] = settings["batch_input_shape"]
    axis = found.get("axis")
    if kind == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        found["axis"] = axis[0]
    return found
