"""Which tensor of a checkpoint is which of ours: by the names of networks, layers and weights, never by position.

Layers that the reference study named (I3D, MobileNetV2) bear the same names here. Layers that it left to Keras to name
(``conv3d``, ``conv3d_1`` ...) were numbered in the order in which they were made; the numbers must run without a gap
and be as many as the architecture has layers, else none of them is taken.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flprivacy.core.errors import TargetError
from flprivacy.models.foreign.checkpoint import Checkpoint, StoredTensor
from flprivacy.models.weights import MOST_CLASSES, TensorSpec

_CNN3D_CONVOLUTIONS = ("stem_conv", *(f"block{b}_conv{c}" for b in (1, 2, 3) for c in (1, 2, 3)))
_CNN3D_NORMS = ("stem_bn", "block1_bn", "block2_bn", "block3_bn")
LOGITS = "head_logits"
_SAME_WEIGHT = {"kernel": ("kernel", "depthwise_kernel")}  # Keras 2 named kernels of depthwise convolutions so


@dataclass(frozen=True)
class Numbered:
    """Layers of ours that a foreign network calls ``stem``, ``stem_1``, ``stem_2`` ..."""

    layers: tuple[str, ...]  # ours, in the order in which the foreign ones were made
    optional: int = 0  # how many of the last may be lacking together


@dataclass(frozen=True)
class Block:
    """Layers that lie in one network of a checkpoint."""

    layers: tuple[str, ...]  # those that bear our names in a foreign network, if any does
    numbered: Mapping[str, Numbered] = field(default_factory=dict)  # by the stem of the names that Keras gives


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One tensor of a network of ours: its path, layer, name and place among the layer's weights, shape and type."""

    path: str
    layer: str
    weight: str
    number: int
    siblings: int
    spec: TensorSpec


Found = dict[str, StoredTensor]  # path of a tensor of ours -> the checkpoint's


_BOTTLENECK = Block(
    layers=("head_bn1", "head_bottleneck", "head_bn2", LOGITS),
    numbered={
        "batch_normalization": Numbered(("head_bn1", "head_bn2")),
        "dense": Numbered(("head_bottleneck", LOGITS)),
    },
)
# How the reference study's networks are put together, network by network; what is not said here lies in one network.
_NUMBERED: dict[str, dict[str, Numbered]] = {
    "cnn3d": {
        "conv3d": Numbered(_CNN3D_CONVOLUTIONS),
        "batch_normalization": Numbered(_CNN3D_NORMS),
        "dense": Numbered(("dense", LOGITS), optional=1),
    },
}
_SLICES2D_CAP = Block(
    layers=("cap_bn", "cap_dense"),
    numbered={"batch_normalization": Numbered(("cap_bn",)), "dense": Numbered(("cap_dense",))},
)
SIGNATURES = {
    "i3d": "Conv3d_1a_7x7_conv",
    "slices2d": "block_16_project",
    "cnn3d_small": "block1_down_conv",
    "cnn3d": "block1_conv1",
}


def trunk_blocks(architecture: str, layers: Sequence[str]) -> tuple[Block, ...]:
    """Return how an architecture's trunk, whose layers are given, may be spread over a checkpoint's networks."""
    if architecture == "slices2d":
        return (Block(tuple(name for name in layers if name not in _SLICES2D_CAP.layers)), _SLICES2D_CAP)
    return (Block(tuple(layers), _NUMBERED.get(architecture, {})),)


def head_block(architecture: str, layers: Sequence[str]) -> Block:
    """Return where an architecture's head, whose layers are given, may lie."""
    if "head_bottleneck" in layers:
        return _BOTTLENECK
    return Block(tuple(layers), _NUMBERED.get(architecture, {}))


def guess_architecture(checkpoint: Checkpoint) -> str:
    """Return the architecture whose layers a checkpoint names; empty if there is none, or more than one."""
    names = {tensor.layer for tensor in checkpoint.tensors}
    found = [name for name, layer in SIGNATURES.items() if layer in names]
    if not found and any(map(_is_numbered_cnn3d, networks_of(checkpoint).values())):
        return "cnn3d"
    return found[0] if len(found) == 1 else ""


def _is_numbered_cnn3d(layers: Iterable[str]) -> bool:
    names, stems = list(layers), _NUMBERED["cnn3d"]
    return all(len(numbered(names, stem)) == len(stems[stem].layers) for stem in ("conv3d", "batch_normalization"))


def head_classes(block: Block, checkpoint: Checkpoint) -> int | None:
    """Return the classes of the head that a checkpoint holds; None where it holds none of that kind."""
    for layers in networks_of(checkpoint).values():
        names = theirs(block, layers)
        if set(names) >= set(block.layers):
            weights = layers[names[LOGITS]]
            kernel = weights.get("kernel", weights.get("#0"))
            if kernel is not None and len(kernel.spec.shape) == 2 and 2 <= kernel.spec.shape[1] <= MOST_CLASSES:
                return kernel.spec.shape[1]
    return None


def networks_of(checkpoint: Checkpoint) -> dict[str, dict[str, dict[str, StoredTensor]]]:
    """Return network -> layer -> weight -> tensor."""
    found: dict[str, dict[str, dict[str, StoredTensor]]] = {}
    for tensor in checkpoint.tensors:
        found.setdefault(tensor.network, {}).setdefault(tensor.layer, {})[tensor.weight] = tensor
    return found


def match_block(block: Block, wanted: Sequence[Wanted], checkpoint: Checkpoint, *, within: str = "") -> Found:
    """Find the tensors of a block's layers in the network of the checkpoint that holds most of them.

    Args:
        wanted: their tensors; those of other layers are ignored.
        within: only in the network of that name, or in those inside it; empty: anywhere.

    Raises:
        TargetError: there is no network called ``within``, or two networks hold equally many.
    """
    networks = {
        name: layers for name, layers in networks_of(checkpoint).items() if not within or within in name.split("/")
    }
    if not networks:
        known = ", ".join(repr(name) for name in sorted(networks_of(checkpoint)) if name) or "none"
        raise TargetError(
            f"{checkpoint.path}: has no network {within!r} inside; trunk_layer may be one of: {known[:500]}"
        )
    found = {name: _match_network(block, wanted, layers) for name, layers in networks.items()}
    most = max(map(len, found.values()))
    best = [name for name in found if len(found[name]) == most]
    if most and len({frozenset(tensor.place for tensor in found[name].values()) for name in best}) > 1:
        raise TargetError(
            f"{checkpoint.path}: networks {best[0]!r} and {best[1]!r} hold {most} tensors of the trunk each; say which "
            "one is the target with trunk_layer"
        )
    return found[best[0]]


def theirs(block: Block, layers: Iterable[str]) -> dict[str, str]:
    """Return layer of ours -> its name in a foreign network that has ``layers``."""
    present = set(layers)
    names = {layer: layer for layer in block.layers if layer in present}
    for stem, ours in block.numbered.items():
        of_stem = numbered(present, stem)
        if len(of_stem) in (len(ours.layers), len(ours.layers) - ours.optional):
            names.update(zip(ours.layers, of_stem, strict=False))
    return names


def numbered(names: Iterable[str], stem: str) -> list[str]:
    """Return those of ``names`` that are ``stem``, ``stem_1``, ``stem_2`` ... in order of their numbers.

    Returns:
        The names; none if a number in between is missing or stands twice, for then it cannot be told which is which.
    """
    pattern = re.compile(rf"{re.escape(stem)}(?:_([1-9]\d{{0,8}}))?")
    found = sorted((int(match.group(1) or 0), name) for name in names if (match := pattern.fullmatch(name)))
    without_gap = all(number == found[0][0] + place for place, (number, _) in enumerate(found))
    return [name for _, name in found] if without_gap else []


def _match_network(block: Block, wanted: Sequence[Wanted], layers: Mapping[str, Mapping[str, StoredTensor]]) -> Found:
    names = theirs(block, layers)
    found: Found = {}
    for tensor in wanted:
        if tensor.layer in names:
            stored = _same(tensor, layers[names[tensor.layer]])
            if stored is not None and stored.spec.shape == tensor.spec.shape and stored.spec.dtype.startswith("float"):
                found[tensor.path] = stored
    return found


def _same(tensor: Wanted, weights: Mapping[str, StoredTensor]) -> StoredTensor | None:
    """Return the weight of the same name; where the file numbers a layer's weights, the one of the same number."""
    for name in _SAME_WEIGHT.get(tensor.weight, (tensor.weight,)):
        if name in weights:
            return weights[name]
    return weights.get(f"#{tensor.number}") if len(weights) == tensor.siblings else None
