"""What a network of the user's own takes: the order of the axes, and the values that stand for air and bone.

Scans come as (n, depth, height, width, 1) in [0, 1]. A network that was trained on other numbers sees, without a word,
nothing that it knows: it looks as if it gave nothing away. So both are facts of a target; where they are not stated
they are read from the file, and where it does not tell either they are asked for.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flprivacy.core.errors import TargetError
from flprivacy.core.target_source import AXES, BYTES, HU, INPUT_RANGE, UNIT, range_of

Step = tuple[float, float]  # scale and offset
Shape = tuple[int, int, int]
Floats = npt.NDArray[Any]

_MOST_SCORE, _LEAST_LEAD = 3.0, 0.5


class Taken(NamedTuple):
    """Which values a network takes, and who says so."""

    input_range: str  # what air and bone are
    told: bool  # whether its first operations tell
    contradicted: str = ""  # the range that they are made for, where its owner states quite another


class Contract(NamedTuple):
    """What a network takes."""

    axes: str  # order of depth, height and width
    input_range: str  # what air and bone are
    assumed: tuple[str, ...]  # those of the two that neither its owner nor its file tells
    stated: tuple[str, ...]  # those of the two and of ``shape`` that its owner states and its file does not tell
    contradicted: str  # the range that its first operations are made for, where its owner states quite another


def contract_of(
    sizes: Shape, steps: Sequence[Step], stated: Mapping[str, str], path: Path, *, fixed: bool = True
) -> Contract:
    """Return what a network takes, as its owner states it, its file tells it, or it is usual.

    Args:
        sizes: of its three axes.
        steps: in which its first operations normalise values; see :func:`guessed_range`.
        stated: ``axes`` and ``input_range`` as far as its owner gives them.
        path: shown in errors.
        fixed: whether its file gives these sizes, not its owner.

    Raises:
        TargetError: its first operations make no sense of any range, and none is stated.
    """
    axes, told = told_axes(sizes if fixed else None, stated.get("axes", ""))
    taken = taken_range(steps, stated.get(INPUT_RANGE, ""), path)
    assumed, on_word = split_unknown({"axes": told, INPUT_RANGE: taken.told}, stated)
    return Contract(
        axes,
        taken.input_range,
        assumed=assumed,
        stated=on_word if fixed else (*on_word, "shape"),
        contradicted=taken.contradicted,
    )


def split_unknown(told: Mapping[str, bool], stated: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return those facts that a file does not tell and nobody states, and those that its owner alone states."""
    unknown = [name for name, known in told.items() if not known]
    return tuple(one for one in unknown if not stated.get(one)), tuple(one for one in unknown if stated.get(one))


def told_axes(sizes: Shape | None, stated: str) -> tuple[str, bool]:
    """Return the order of a network's axes, and whether the sizes in its file tell it; None: they tell nothing.

    An order that is stated counts; sizes that look like another one do not tell it.
    """
    guess, told = guessed_axes(sizes) if sizes is not None else (AXES, False)
    return stated or guess, told and stated in ("", guess)


def taken_range(steps: Sequence[Step], stated: str, path: Path) -> Taken:
    """Return the range of values that a network was trained on, as its owner states it or its first operations tell.

    Raises:
        TargetError: nobody states it, and they make no sense of any.
    """
    if not stated:
        return Taken(*guessed_range(steps, path))
    if not steps:
        return Taken(stated, told=False)
    by, plus = _composed(steps)
    own, best = _score(by, plus, stated), min((UNIT, BYTES, HU), key=lambda name: _score(by, plus, name))
    sure = _score(by, plus, best) <= _MOST_SCORE
    fits = own <= min(_MOST_SCORE, _score(by, plus, best) + _LEAST_LEAD)
    return Taken(stated, told=fits, contradicted=best if sure and own > _MOST_SCORE else "")


def guessed_axes(sizes: tuple[int, int, int]) -> tuple[str, bool]:
    """Return the order of a network's axes, and whether its sizes tell: as ours, unless the first two alone are alike.

    Slices of CT are square: (128, 128, 64), as in Keras's own example of chest CT, is (height, width, depth). A depth
    that is no smaller than both others, as in a cube, tells nothing.
    """
    if sizes[0] == sizes[1] != sizes[2]:
        return "hwd", True
    return AXES, sizes[0] < min(sizes[1:]) or sizes[1] == sizes[2] != sizes[0]


def scan_shape(sizes: tuple[int, int, int], axes: str) -> Shape:
    """Return (depth, height, width) of a network whose axes of these sizes are in that order."""
    depth, height, width = (sizes[axes.index(axis)] for axis in AXES)
    return depth, height, width


@functools.cache
def shares_of(given: int, wanted: int) -> npt.NDArray[np.float32]:
    """Return (wanted, given) shares of the given voxels in each of the wanted ones along an axis of the same length."""
    ratio = given / wanted
    source, place = np.arange(given), np.arange(wanted)[:, None]
    if ratio >= 1.0:
        shares = np.minimum(source + 1, (place + 1) * ratio) - np.maximum(source, place * ratio)
    else:
        shares = 1.0 - np.abs(source - ((place + 0.5) * ratio - 0.5).clip(0, given - 1))
    shares = np.maximum(shares, 0.0)
    found: npt.NDArray[np.float32] = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def guessed_range(steps: Sequence[Step], path: Path) -> tuple[str, bool]:
    """Return the range of values that a network was trained on, and whether the steps in which it normalises them tell.

    The range is that of 0..1, 0..255 and HU which they bring nearest to numbers between -1 and 1; 0..1, which is no
    more than usual, where there are none.

    Raises:
        TargetError: no range, or more than one, makes sense.
    """
    if not steps:
        return UNIT, False
    scale, offset = _composed(steps)
    scores = sorted((_score(scale, offset, name), name) for name in (UNIT, BYTES, HU))
    if not scores[0][0] <= min(_MOST_SCORE, scores[1][0] - _LEAST_LEAD):
        raise TargetError(
            f"{path}: its first layers turn a value into {scale:.4g} * value + {offset:.4g}, which does not tell the "
            f"values that it was trained on; give input_range={UNIT}, {BYTES}, {HU} or LOW..HIGH (air and bone)"
        )
    return scores[0][1], True


def check_holds(dtype: str, bounds: tuple[float, float], path: Path) -> None:
    """Refuse a network of whole numbers that cannot hold the values that it is said to take, or tell them apart.

    Raises:
        TargetError: its kind of numbers is too small, or the range is.
    """
    if "int" not in dtype:
        return
    limits = np.iinfo(dtype)
    if not (limits.min <= bounds[0] and bounds[1] <= limits.max and bounds[1] - bounds[0] > 1.0):
        raise TargetError(
            f"{path}: takes {dtype}, which does not hold values of {bounds[0]:g}..{bounds[1]:g}; state the input_range "
            "that it was trained on"
        )


def _composed(steps: Sequence[Step]) -> Step:
    """Return one step that does what all of them do."""
    scale, offset = 1.0, 0.0
    for by, plus in steps:
        scale, offset = by * scale, by * offset + plus
    return scale, offset


def divergence(mean: Floats, variance: Floats, kept_mean: Floats, kept_variance: Floats, epsilon: float) -> float:
    """Return the Kullback-Leibler divergence, in nats, of normal distributions of values seen from those kept of
    training: the median over channels, (channel,) each.
    """
    kept, seen = kept_variance + epsilon, variance + epsilon
    ratio = seen / kept
    return float(np.median(0.5 * (ratio + (mean - kept_mean) ** 2 / kept - 1.0 - np.log(ratio))))


def _score(scale: float, offset: float, name: str) -> float:
    """Return how far a range comes to lie from -1..1, in width and centre."""
    low, high = range_of(name) or (0.0, 1.0)
    return abs(math.log(max(abs(scale) * (high - low), 1e-30) / 2.0)) + abs(scale * (low + high) / 2.0 + offset)
