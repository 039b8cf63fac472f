"""The named tensors of a checkpoint, whichever of Keras's three formats it is in."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

from flprivacy.core.array_types import Array
from flprivacy.core.errors import TargetError, naming
from flprivacy.models.foreign.archive import MAX_CONFIG_BYTES, parse_config, unpacked
from flprivacy.models.foreign.description import NamedLayer, Shape, code_in, input_shape, named_layers
from flprivacy.models.hdf5 import GuardedFile, open_guarded
from flprivacy.models.quarantine import vet
from flprivacy.models.weights import TensorSpec, specs_of

_REMEDY = "save the model again with Keras (.keras, .weights.h5 or .h5)"
_MAX_DEPTH = 24  # networks in networks: two groups a level
_NOT_WEIGHTS = ("optimizer", "metrics", "optimizer_weights", "top_level_model_weights")


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """One tensor of a checkpoint, by the names that its writer gave."""

    place: str  # its path in the file, which nothing else has
    network: str  # name of the network that its layer lies in; empty for the outermost. ``a/b`` lies in ``a``
    layer: str  # name of its layer
    weight: str  # ``kernel``, ``beta`` ...; ``#0`` for the layer's first, where the file numbers them
    spec: TensorSpec  # shape and type


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What an open checkpoint holds, nothing of it read yet."""

    path: Path  # the file
    format: str  # in words
    # by the networks and layers that they may be said to lie in; one place may stand here twice
    tensors: tuple[StoredTensor, ...]
    places: Mapping[str, TensorSpec]  # path in the file -> shape and type, each tensor once
    # (depth, height, width) of the scans that its network takes; None where the file does not tell
    shape: Shape | None = None
    code: str = ""  # class of a layer of code in its description; empty if there is none
    config: Mapping[str, Any] | None = None  # the description of its network; None where there is none
    read: Callable[[Iterable[str]], dict[str, Array]] = field(repr=False)  # places -> values


@contextmanager
def open_checkpoint(path: Path) -> Iterator[Checkpoint]:
    """Open a ``.keras``, ``.weights.h5`` or legacy ``.h5`` file.

    Raises:
        TargetError: it is missing, none of the three, damaged, or holds what no such file holds.
    """
    try:
        if path.name.lower().endswith(".keras"):
            _check_exists(path)
            with unpacked(path) as (config, weights), opened(weights, path) as file:
                yield _keras3(file, path, config)
        else:
            with opened(path, path) as file:
                yield _hdf5(file, path)
    except (ValueError, RecursionError) as error:  # of a description nested too deep or with too many parts
        raise TargetError(f"{path}: unreadable description of the network ({error}); {_REMEDY}") from error


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise TargetError(f"{path}: no such file; check the path")


@contextmanager
def opened(path: Path, shown: Path) -> Iterator[GuardedFile]:
    """Open an HDF5 file that the user knows under the name ``shown``."""
    with naming(str(shown), path):
        vet(path, remedy=_REMEDY)
        with open_guarded(path, remedy=_REMEDY, max_depth=_MAX_DEPTH) as file:
            yield file


def _hdf5(file: GuardedFile, path: Path) -> Checkpoint:
    root = file.root
    if "model_weights" in root:
        return _legacy(file, path, "model_weights")
    if "layer_names" in root.attrs or "layer_names0" in root.attrs:
        return _legacy(file, path, "")
    if "flprivacy_weights" in root.attrs:
        raise file.refuse("weights of a target of ours; give the target's folder")
    return _keras3(file, path, None)


def _legacy(file: GuardedFile, path: Path, folder: str) -> Checkpoint:
    """Keras 2: a group a layer of the outermost network, the names of its weights in an attribute."""
    datasets = file.tensors(folder, skip=_NOT_WEIGHTS)
    specs = specs_of(datasets)
    root = file.group(folder) if folder else file.root
    tensors: list[StoredTensor] = []
    for layer in file.texts(root, "layer_names") or ():
        group = file.group(f"{folder}/{layer}" if folder else layer)
        tensors += _legacy_layer(file, layer, file.texts(group, "weight_names") or (), specs)
    description = file.text(file.root, "model_config")
    if description is not None and len(description) > MAX_CONFIG_BYTES:
        raise file.refuse("its description is larger than any network's")
    config = None if description is None else parse_config(description, path)
    kind = "whole model" if folder else "weights"
    return _checkpoint(path, f"legacy HDF5, {kind}", tensors, datasets, config)


def _legacy_layer(
    file: GuardedFile, layer: str, names: Iterable[str], specs: Mapping[str, TensorSpec]
) -> Iterator[StoredTensor]:
    """Yield the weights of one group: of a layer, or of a whole network with its layers' names in the weights' names.

    A group whose weights all bear one other layer's name may be either: a network of one layer, or a layer whose
    name was made unique; its weights are then yielded as both.
    """
    weights = []
    for name in names:
        place = f"{layer}/{name}"
        if place not in specs:
            raise file.refuse(f"names the weight {place!r}, which it does not hold")
        parts = name.split("/")
        weights.append((place, parts[-2] if len(parts) > 1 else layer, parts[-1].partition(":")[0]))
    scopes = {scope for _, scope, _ in weights}
    for place, scope, weight in weights:
        if len(scopes) == 1:
            yield StoredTensor(place=place, network="", layer=layer, weight=weight, spec=specs[place])
        if scopes != {layer}:
            yield StoredTensor(place=place, network=layer, layer=scope, weight=weight, spec=specs[place])


def _keras3(file: GuardedFile, path: Path, config: Mapping[str, Any] | None) -> Checkpoint:
    """Keras 3 (and Keras 2's ``.keras``): ``layers/<key>/.../vars/<number>``, names in an attribute or description."""
    datasets = file.tensors(skip=_NOT_WEIGHTS)
    specs = specs_of(datasets)
    description = named_layers(config) if config is not None else None
    tensors = []
    for place in datasets:
        *keys, vars_, number = ("", place) if "/" not in place else place.split("/")
        if vars_ != "vars" or not number.isdecimal() or "seed_generator" in keys:
            continue
        names = _names(file, keys, description)
        if names:
            network, layer = "/".join(names[:-1]), names[-1]
            weight = f"#{int(number)}"
            tensors.append(StoredTensor(place=place, network=network, layer=layer, weight=weight, spec=specs[place]))
    kept = {place: dataset for place, dataset in datasets.items() if "seed_generator" not in place.split("/")}
    kind = "Keras archive" if config is not None else "Keras 3 weights"
    return _checkpoint(path, kind, tensors, kept, config)


def _names(file: GuardedFile, keys: list[str], description: NamedLayer | None) -> list[str]:
    """Return the names of nested networks and of the layer that ``keys`` lead to."""
    names: list[str] = []
    for end, key in enumerate(keys, start=1):
        if key == "layers":
            continue
        description = description.layers.get(key) if description is not None else None
        path = "/".join(keys[:end])
        own = file.text(file.group(f"{path}/vars"), "name") if "vars" in file.group(path) else None
        name = own or (description.name if description is not None else "")
        if not name:
            raise file.refuse(
                f"numbers its layers without naming them ({path!r}), and order is no proof of identity; "
                "save the whole model as .keras or .h5, or its weights with Keras 3"
            )
        names.append(name)
    return names


def _checkpoint(
    path: Path,
    kind: str,
    tensors: list[StoredTensor],
    datasets: Mapping[str, h5py.Dataset],
    config: Mapping[str, Any] | None,
) -> Checkpoint:
    if not tensors:
        raise TargetError(f"{path}: holds no weights of layers; {_REMEDY}")

    def read(places: Iterable[str]) -> dict[str, Array]:
        return {place: datasets[place][()] for place in places}

    return Checkpoint(
        path=path,
        format=kind,
        tensors=tuple(tensors),
        places=specs_of(datasets),
        shape=input_shape(config) if config is not None else None,
        code=code_in(config) if config is not None else "",
        config=config,
        read=read,
    )
