"""Differentiable augmentation (arXiv:2006.10738): what real and generated scans go through before they are judged.

It keeps a discriminator from learning few scans by heart. Since generated scans go through it too, and are corrected
through it, the generator does not learn to make augmented scans. Scans are never mirrored: the heart has its side.
"""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from flprivacy.core.array_types import Float32Array, IntArray

_SHIFT_PARTS, _CUTOUT_PARTS = 16, 4  # of an edge: farthest shift; edge of the box that is cut out, both ways
_BRIGHTNESS, _CONTRAST = 0.1, 0.2  # of scans in [-1, 1]


class Draws(NamedTuple):
    """What augmentation was drawn for each of n scans.

    Attributes:
        rows: (n, height, height) which line of the scan each line is taken from, one-hot; air where none.
        columns: (n, width, width) likewise.
        scale: (n, 1, 1, 1, 1) factor of the contrast.
        offset: (n, 1, 1, 1, 1) added brightness.
        keep: (n, depth, height, width, 1) 1 where a voxel is kept, 0 where it is cut out.
    """

    rows: Float32Array
    columns: Float32Array
    scale: Float32Array
    offset: Float32Array
    keep: Float32Array


def draw(names: Sequence[str], n: int, shape: tuple[int, int, int], generator: np.random.Generator) -> Draws | None:
    """Draw the augmentation of n scans; what ``names`` does not name is left as it is. None where it names nothing."""
    if not names:
        return None
    offsets = [generator.integers(-(edge // _SHIFT_PARTS), edge // _SHIFT_PARTS + 1, size=n) for edge in shape[1:]]
    contrast = generator.uniform(-_CONTRAST, _CONTRAST, size=(n, 1, 1, 1, 1))
    brightness = generator.uniform(-_BRIGHTNESS, _BRIGHTNESS, size=(n, 1, 1, 1, 1))
    keep = _boxes(n, shape, generator)
    lines = [_moved(edge, o if "shift" in names else 0 * o) for edge, o in zip(shape[1:], offsets, strict=True)]
    return Draws(
        rows=lines[0],
        columns=lines[1],
        scale=(1.0 + contrast * ("contrast" in names)).astype(np.float32),
        offset=(brightness * ("brightness" in names)).astype(np.float32),
        keep=keep if "cutout" in names else np.ones((n, 1, 1, 1, 1), dtype=np.float32),
    )


def augment(scans: keras.KerasTensor, draws: Draws | None) -> keras.KerasTensor:
    """Return scans (n, depth, height, width, 1) in [-1, 1] as augmented; what moves in from outside is air (-1)."""
    if draws is None:
        return scans
    above_air = scans + 1.0
    above_air = ops.einsum("nij,ndjwc->ndiwc", draws.rows, above_air)
    above_air = ops.einsum("nij,ndhjc->ndhic", draws.columns, above_air)
    moved = above_air * draws.keep - 1.0
    return moved * draws.scale + draws.offset


def _moved(edge: int, offsets: IntArray) -> Float32Array:
    source = np.arange(edge)[None, :] - offsets[:, None]
    return np.asarray(source[:, :, None] == np.arange(edge), dtype=np.float32)


def _boxes(n: int, shape: tuple[int, int, int], generator: np.random.Generator) -> Float32Array:
    inside = np.ones((n, 1, 1, 1, 1), dtype=bool)
    for axis, edge in enumerate(shape, start=1):
        half = max(1, edge // (2 * _CUTOUT_PARTS))
        centre = generator.integers(edge, size=(n, 1))
        near = np.abs(np.arange(edge)[None, :] - centre) < half  # (n, edge)
        inside = inside & near.reshape(n, *(edge if a == axis else 1 for a in range(1, 4)), 1)
    return (~inside).astype(np.float32)
