"""A checkpoint's weights in an architecture of ours."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from flprivacy.core.errors import TargetError, check
from flprivacy.core.target_source import TargetSource
from flprivacy.models.architecture import Shape, TargetModel
from flprivacy.models.foreign.checkpoint import Checkpoint
from flprivacy.models.foreign.naming import (
    Found,
    Wanted,
    guess_architecture,
    head_block,
    head_classes,
    match_block,
    trunk_blocks,
)
from flprivacy.models.registry import ARCHITECTURES, build
from flprivacy.models.weights import MatchReport, TensorSpec

_FRESH_CLASSES = 2  # of a head that no attack uses
_SHOWN = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """A network of ours with a checkpoint's weights."""

    model: TargetModel  # the network; trunk tensors that were missing, and a head that was, hold fresh weights
    report: MatchReport  # how the trunk fits; ``left_over`` are the places in the file that neither trunk nor head took
    head: bool  # whether the head came from the file too


def load_checkpoint(checkpoint: Checkpoint, source: TargetSource) -> Loaded:
    """Build an architecture with the weights of an open checkpoint. What the file's description asks for is not built.

    Args:
        checkpoint: from :func:`~flprivacy.models.foreign.checkpoint.open_checkpoint`.
        source: facts about it; of architecture, shape and classes those that the file does not tell.

    Raises:
        TargetError: the file lacks tensors of the trunk, or what it does not tell was not given.
        ConfigError: an unknown architecture.
    """
    if checkpoint.code and not source.weights_only:
        raise TargetError(
            f"{checkpoint.path}: its network has a layer of code ({checkpoint.code}), and code of a file is never run; "
            "if the network is one of ours all the same, give weights_only=true to take its tensors alone"
        )
    architecture = source.architecture or guess_architecture(checkpoint)
    if not architecture:
        raise TargetError(
            f"{checkpoint.path}: names the layers of no architecture of ours; give architecture "
            f"({', '.join(ARCHITECTURES)}), or feature_layer for a network of your own"
        )
    shape = source.shape or checkpoint.shape
    if shape is None:
        raise TargetError(
            f"{checkpoint.path}: does not tell which scans it takes; give shape, such as shape=24x256x256"
        )
    check(architecture in ARCHITECTURES, "architecture", architecture, f"must be one of {', '.join(ARCHITECTURES)}")
    model = _build(checkpoint, architecture, shape, source.classes)
    found, head = _match(checkpoint, model, source.trunk_layer)
    report = _report(checkpoint, model, found, head)
    if report.matched < (1 if source.allow_partial else report.total):
        raise TargetError(_short(checkpoint, architecture, report))
    _assign(checkpoint, model, found | head)
    return Loaded(model=model, report=report, head=bool(head))


def _build(checkpoint: Checkpoint, architecture: str, shape: Shape, n_classes: int | None) -> TargetModel:
    head = ARCHITECTURES[architecture].head(1, 2)
    block = head_block(architecture, [layer.name for layer in head.layers if layer.weights])
    classes = n_classes or head_classes(block, checkpoint) or _FRESH_CLASSES
    return build(architecture, shape=shape, n_classes=classes, seed=0)


def _match(checkpoint: Checkpoint, model: TargetModel, trunk_layer: str) -> tuple[Found, Found]:
    """Return what was found of the trunk, and the whole head or nothing of it."""
    trunk, head = wanted_tensors(model.trunk), wanted_tensors(model.head)
    found: Found = {}
    for block in trunk_blocks(model.architecture, list(dict.fromkeys(tensor.layer for tensor in trunk))):
        within = trunk_layer if block.layers[0] == trunk[0].layer else ""
        found |= match_block(block, trunk, checkpoint, within=within)
    block = head_block(model.architecture, list(dict.fromkeys(tensor.layer for tensor in head)))
    of_head = match_block(block, head, checkpoint)
    return found, of_head if len(of_head) == len(head) else {}


def wanted_tensors(network: keras.Model) -> list[Wanted]:
    """Return every tensor of a network of ours, with the layer that it lies in."""
    found = []
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            found += wanted_tensors(layer)
            continue
        for number, weight in enumerate(layer.weights):
            found.append(
                Wanted(
                    path=weight.path,
                    layer=layer.name,
                    weight=weight.name,
                    number=number,
                    siblings=len(layer.weights),
                    spec=TensorSpec(tuple(weight.shape), str(weight.dtype)),
                )
            )
    return found


def _report(checkpoint: Checkpoint, model: TargetModel, found: Found, head: Found) -> MatchReport:
    trunk = [tensor.path for tensor in wanted_tensors(model.trunk)]
    used = {tensor.place for tensor in (*found.values(), *head.values())}
    return MatchReport(
        matched=len(found),
        total=len(trunk),
        missing=tuple(path for path in trunk if path not in found),
        left_over=tuple(place for place in checkpoint.places if place not in used),
    )


def _short(checkpoint: Checkpoint, architecture: str, report: MatchReport) -> str:
    """Say what a file lacks of a trunk."""
    text = f"{checkpoint.path}: {report.matched} of {report.total} tensors of the {architecture} trunk match"
    text += f"; missing {_some(report.missing)}"
    text += f"; left over {_some(report.left_over)}" if report.left_over else ""
    if not report.matched:
        return f"{text}; give the architecture that it was trained as"
    return f"{text}; give a whole file, or allow_partial=true, which then stands in every table"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:120]) for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _assign(checkpoint: Checkpoint, model: TargetModel, found: Found) -> None:
    values = checkpoint.read({tensor.place for tensor in found.values()})
    for tensor in found.values():
        if not np.isfinite(values[tensor.place]).all():
            raise TargetError(
                f"{checkpoint.path}: {tensor.place!r} holds values that are not finite; the training diverged, or the "
                "file is damaged: give another"
            )
    for variable in model.model.weights:
        if variable.path in found:
            variable.assign(values[found[variable.path].place].astype(str(variable.dtype)))
