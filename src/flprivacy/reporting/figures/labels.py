"""Direct labels that do not overlap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation, Transform
from scipy.optimize import isotonic_regression

from flprivacy.core.array_types import FloatArray
from flprivacy.reporting.figures.style import PAPER

_POINTS_PER_INCH = 72.0


@dataclass(frozen=True, kw_only=True)
class Label:
    """Text for the point ``(x, y)`` in data coordinates, right of it or ``left``."""

    x: float
    y: float
    text: str
    colour: str
    bold: bool = False
    left: bool = False


def spread(positions: FloatArray, gap: float) -> FloatArray:
    """Return the positions nearest to ``positions`` (least squares) that keep at least ``gap`` between neighbours.

    With ranks i this is isotonic regression of ``positions - i * gap``.
    """
    if not len(positions):
        return positions
    rank = np.argsort(positions, kind="stable")
    offsets = gap * np.arange(len(positions))
    spaced = np.empty(len(positions))
    spaced[rank] = isotonic_regression(positions[rank] - offsets).x + offsets
    return spaced


def label_points(axes: Axes, labels: Sequence[Label], *, size: float, at_edge: bool, pad: float) -> None:
    """Write labels beside their points, or right of the axes, at heights that do not overlap.

    Call it last: heights are computed from the axes' final limits and size. ``size`` of the type, and ``pad`` from the
    point to the text, are in points. Labels ``at_edge`` stand in the right margin, joined to their points by lines.
    """
    if not labels:
        return
    gap = size * 1.3 / (axes.bbox.height / axes.figure.dpi * _POINTS_PER_INCH)
    points = (axes.transData + axes.transAxes.inverted()).transform([(label.x, label.y) for label in labels])
    heights = spread(points[:, 1], gap)
    # Pushed out of the panel at one end, the whole stack moves back, so that no label leaves it.
    heights -= max(0.0, heights.max() - 1.0)
    heights += max(0.0, -heights.min())
    for label, (x, y), height in zip(labels, points, heights, strict=True):
        joined = at_edge or abs(height - y) > gap / 4
        _write(axes, label, (1.0 if at_edge else x, height), size=size, pad=pad, joined=joined)


def _write(axes: Axes, label: Label, at: tuple[float, float], *, size: float, pad: float, joined: bool) -> None:
    """Write one label at ``at`` in axes coordinates, with a line to its point if it is ``joined``."""
    axes.annotate(
        label.text,
        xy=(label.x, label.y),
        xycoords="data",
        xytext=at,
        textcoords=_offset_from_axes(axes, -pad if label.left else pad),
        va="center",
        ha="right" if label.left else "left",
        fontsize=size,
        fontweight="bold" if label.bold else "normal",
        color=label.colour,
        annotation_clip=False,
        zorder=1.5,  # above rules and grid, below the data
        bbox={"boxstyle": "square,pad=0.1", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.75},
        arrowprops={
            "arrowstyle": "-",
            "color": label.colour,
            "lw": 0.7,
            "alpha": 0.7 if joined else 0.0,
            "shrinkA": 1,
            "shrinkB": 2,
            "relpos": (1.0 if label.left else 0.0, 0.5),
        },
    )


def _offset_from_axes(axes: Axes, pad: float) -> Transform:
    return axes.transAxes + ScaledTranslation(pad / _POINTS_PER_INCH, 0.0, axes.figure.dpi_scale_trans)
