"""What attacks take from a network of the user's own: an output, and the features of a layer, however deep."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from flprivacy.core.errors import TargetError
from flprivacy.models.hdf5 import printable

_SHOWN = 800  # characters of a list of names


def features_and_output(network: keras.Model, path: Path, feature_layer: str, output: str) -> tuple[keras.Model, str]:
    """Return a network of the same input that gives [features, answer], and the name of the output that it answers.

    Args:
        network: as it was saved.
        path: shown in errors.
        feature_layer: a layer's name; ``backbone/pool`` is layer ``pool`` of the network ``backbone`` within.
        output: name of the layer whose output is the answer; empty: the only output.

    Raises:
        TargetError: there is no such layer or output, or a choice is needed.
    """
    try:
        both = _with_features(network, feature_layer.split("/"))
    except _AmbiguousError:
        raise TargetError(
            f"{path}: layer {feature_layer[:80]!r} is used several times or gives several outputs; name another layer"
        ) from None
    if both is None:
        raise TargetError(
            f"{path}: has no layer {feature_layer[:80]!r}; feature_layer may be one of: "
            f"{_listed(_layer_names(network))}"
        )
    features, answers = both.outputs[0], dict(zip(_output_names(network), both.outputs[1:], strict=True))
    if not output and len(answers) > 1:
        raise TargetError(
            f"{path}: has {len(answers)} outputs ({_listed(answers)}); say which one is audited with output=NAME"
        )
    name = output or next(iter(answers))
    if name not in answers:
        raise TargetError(f"{path}: has no output {name[:80]!r}; output may be one of: {_listed(answers)}")
    return keras.Model(_only(both.inputs), [features, answers[name]], name="network"), name


def _only(inputs: list[Any]) -> Any:
    """Return the one of several inputs, if there is one: it is then given as a tensor, not as a list of one."""
    return inputs[0] if len(inputs) == 1 else inputs


def graph_of(network: keras.Model) -> Any:
    """Return the graph of operations of a Functional or Sequential network."""
    return getattr(network, "_functional", None) or network


def _output_names(network: keras.Model) -> list[str]:
    return [str(one._keras_history.operation.name) for one in network.outputs]


class _AmbiguousError(Exception):
    """A layer has no output, or more than one."""


def _with_features(network: keras.Model, names: list[str]) -> keras.Model | None:
    """Return the network with the features of a layer, however deep, in front of its outputs; None: no such layer."""
    layer = {one.name: one for one in network.layers}.get(names[0])
    if layer is None or (len(names) > 1 and not isinstance(layer, keras.Model)):
        return None
    if len(names) == 1:
        nodes = {id(node) for nodes in graph_of(network)._nodes_by_depth.values() for node in nodes}
        found = [one for node in layer._inbound_nodes if id(node) in nodes for one in node.output_tensors]
        inputs, outputs = network.inputs, network.outputs
    else:
        inner, found = _with_features(layer, names[1:]), []
        if inner is None:
            return None
        inputs = [keras.Input(batch_shape=one.shape, dtype=one.dtype) for one in network.inputs]
        outputs = graph_of(network)._run_through_graph(
            inputs, lambda operation: _tapped(operation, layer, inner, found)
        )
    if len(found) != 1 or len(found[0].shape) < 2:
        raise _AmbiguousError
    return keras.Model(inputs, [found[0], *keras.tree.flatten(outputs)])


def _tapped(operation: Any, layer: Any, inner: keras.Model, found: list[Any]) -> Any:
    """Return an operation, or in place of ``layer`` one that keeps the features and gives what the layer gives."""
    if operation is not layer:
        return operation

    def call(*args: Any, **kwargs: Any) -> Any:
        features, *outputs = inner(*args, **kwargs)
        found.append(features)
        return outputs

    return call


def _layer_names(network: keras.Model, within: str = "") -> Iterator[str]:
    for layer in network.layers:
        yield f"{within}{layer.name}"
        if isinstance(layer, keras.Model):
            yield from _layer_names(layer, f"{within}{layer.name}/")


def _listed(names: Any) -> str:
    return printable(", ".join(names))[:_SHOWN]
