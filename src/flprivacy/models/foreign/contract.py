"""What a network of the user's own takes: the order of the axes, and the values that stand for air and bone.

Scans come as (n, depth, height, width, 1) in [0, 1]. A network that was trained on other numbers sees, without a word,
nothing that it knows: it looks as if it gave nothing away. So both are facts of a target; where they are not stated
they are read from the file, and where it does not tell either they are asked for.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from flprivacy.core.errors import TargetError
from flprivacy.core.target_source import AXES, HU, UNIT, range_of

Step = tuple[float, float]  # scale and offset
Shape = tuple[int, int, int]

_BYTES = "0..255"
_MOST_SCORE, _LEAST_LEAD = 3.0, 0.5


def guessed_axes(sizes: tuple[int, int, int]) -> str:
    """Return the order of a network's axes: as ours, unless its first two are alike and its third is not.

    Slices of CT are square: (128, 128, 64), as in Keras's own example of chest CT, is (height, width, depth).
    """
    return "hwd" if sizes[0] == sizes[1] != sizes[2] else AXES


def scan_shape(sizes: tuple[int, int, int], axes: str) -> Shape:
    """Return (depth, height, width) of a network whose axes of these sizes are in that order."""
    depth, height, width = (sizes[axes.index(axis)] for axis in AXES)
    return depth, height, width


def guessed_range(steps: Sequence[Step], path: Path) -> str:
    """Return the range of values that a network was trained on, by the steps in which it first normalises them.

    The range is that of 0..1, 0..255 and HU which they bring nearest to numbers between -1 and 1.

    Raises:
        TargetError: no range, or more than one, makes sense.
    """
    scale, offset = 1.0, 0.0
    for by, plus in steps:
        scale, offset = by * scale, by * offset + plus
    scores = sorted((_score(scale, offset, name), name) for name in (UNIT, _BYTES, HU))
    if not scores[0][0] <= min(_MOST_SCORE, scores[1][0] - _LEAST_LEAD):
        raise TargetError(
            f"{path}: its first layers turn a value into {scale:.4g} * value + {offset:.4g}, which does not tell the "
            f"values that it was trained on; give input_range={UNIT}, {_BYTES}, {HU} or LOW..HIGH (air and bone)"
        )
    return scores[0][1]


def _score(scale: float, offset: float, name: str) -> float:
    """Return how far a range comes to lie from -1..1, in width and centre."""
    low, high = range_of(name) or (0.0, 1.0)
    return abs(math.log(max(abs(scale) * (high - low), 1e-30) / 2.0)) + abs(scale * (low + high) / 2.0 + offset)
