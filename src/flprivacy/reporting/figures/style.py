"""How every figure looks: type, colours, one style per target, panels laid out in inches; and how it gets into a page.

It does so as a data URI: the page needs no other file, and an image cannot run script or collide with ids.
"""

import base64
import functools
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK, Audit
from flprivacy.reporting.findings import baselines, targets
from flprivacy.reporting.words import shorten

P = ParamSpec("P")
Dash = str | tuple[float, tuple[float, ...]]

PAGE_INCHES = 11.0  # width of every figure that fills the page

INK, MUTED, RULE, PAPER = "#1b2430", "#5a6675", "#e3e7ec", "#ffffff"
VERDICT_COLOURS = {LEAK: "#b42318", INCONCLUSIVE: "#9a6700", NO_LEAK: "#2f5d50"}
# Okabe and Ito's colour-blind-safe set, the light ones darkened until a label in them is legible on white.
_TARGET_COLOURS = ("#0072b2", "#d55e00", "#008a63", "#a3418f", "#b07a00", "#2f86c4", "#332288", "#7a7a1f")
_BASELINE_LOOKS: dict[str, tuple[str, Dash]] = {
    "untrained": ("#3f4a57", (0.0, (5.0, 2.0))),
    "pretrained": ("#3f4a57", (0.0, (7.0, 2.0, 1.5, 2.0))),
    "pixels": ("#5f6b79", (0.0, (2.5, 1.5))),
    "majority": ("#6f7b89", (0.0, (1.0, 1.5))),
}
_ANOTHER_BASELINE: tuple[str, Dash] = ("#6b7684", (0.0, (4.0, 1.5, 1.0, 1.5)))
RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "text.color": INK,
    "text.parse_math": False,  # a target or hospital may have a dollar sign in its name
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10.5,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9.0,
    "axes.edgecolor": "#b6bfca",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "figure.dpi": 100,
    "svg.fonttype": "path",
    "svg.hashsalt": "flprivacy",  # the same audit gives the same bytes
}
_LARGE_SVG_BYTES = 110_000
_DPI = 150
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_BREAK = re.compile(r"\s*\n\s*")
_GLYPH_AT = re.compile(r' transform="translate\((-?[\d.]+) 0\)"/>')
_OUTLINE = re.compile(r' d="[^"]*"')
_DECIMALS = re.compile(r"(\.\d\d)\d+")


@dataclass(frozen=True, kw_only=True)
class TargetStyle:
    """The look that a target keeps in every figure."""

    colour: str
    dash: Dash
    width: float
    baseline: bool


@dataclass(frozen=True, kw_only=True)
class Margins:
    """Space around one panel, in inches."""

    left: float
    right: float
    top: float
    bottom: float


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run a drawing function under the report's style, and leave matplotlib's settings as they were."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(RC):
            return draw(*args, **kwargs)

    return wrapper


def target_styles(audit: Audit) -> dict[str, TargetStyle]:
    """Return name -> style: a colour for each target, greys and dashes for the baselines."""
    styles = {}
    for i, summary in enumerate(targets(audit)):
        colour = _TARGET_COLOURS[i % len(_TARGET_COLOURS)]
        # From the ninth target on colours repeat; a dash then tells the two apart.
        dash: Dash = "solid" if i < len(_TARGET_COLOURS) else (0.0, (8.0, 1.5))
        styles[summary.name] = TargetStyle(colour=colour, dash=dash, width=2.2, baseline=False)
    for summary in baselines(audit):
        colour, dash = _BASELINE_LOOKS.get(summary.name, _ANOTHER_BASELINE)
        styles[summary.name] = TargetStyle(colour=colour, dash=dash, width=1.6, baseline=True)
    return styles


def balanced_columns(count: int, most: int = 4) -> int:
    """Return the columns that leave the fewest holes in a grid of ``count`` panels, at most ``most``."""
    rows = -(-count // most)
    return -(-count // rows)


def panel_grid(
    count: int, *, columns: int, width: float, height: float, margins: Margins, head: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """Return a figure of equal panels, row by row, at most ``columns`` side by side, with a free ``head`` above all.

    All sizes are in inches, ``width`` and ``height`` of a panel's plotting area, so that text keeps its size however
    many panels there are.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    cell_width, cell_height = margins.left + width + margins.right, margins.top + height + margins.bottom
    total_width, total_height = columns * cell_width, rows * cell_height + head
    figure = Figure(figsize=(total_width, total_height))
    panels = []
    for i in range(count):
        row, column = divmod(i, columns)
        left = (column * cell_width + margins.left) / total_width
        bottom = 1.0 - (head + row * cell_height + margins.top + height) / total_height
        panels.append(figure.add_axes((left, bottom, width / total_width, height / total_height)))
    return figure, panels


def head_panel(axes: Axes, target: str, colour: str, text: str) -> None:
    """Write a target's name over its panel, and below it how strong the attack was."""
    axes.set_title(shorten(target, 24), pad=21, color=colour)
    note(axes, text, xy=(0, 1), xycoords="axes fraction", xytext=(0, 6), color=MUTED)


def note(axes: Axes, text: str, **where: Any) -> None:
    """Write text at a distance in points (``xytext``) from a place, also outside the panel."""
    axes.annotate(text, textcoords="offset points", annotation_clip=False, **where)


def stacked_panels(heights: Sequence[float], *, width: float, margins: Margins) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels of different heights, one above the other; all sizes in inches."""
    total_width = margins.left + width + margins.right
    total_height = sum(heights) + len(heights) * (margins.top + margins.bottom)
    figure, panels, top = Figure(figsize=(total_width, total_height)), [], 0.0
    for height in heights:
        top += margins.top
        bottom = 1.0 - (top + height) / total_height
        panels.append(figure.add_axes((margins.left / total_width, bottom, width / total_width, height / total_height)))
        top += height + margins.bottom
    return figure, panels


def svg(figure: Figure) -> bytes:
    """Return the figure as SVG, with its text as outlines so that it looks the same everywhere."""
    return _slim(_saved(figure, "svg", metadata={"Date": None, "Creator": None}).decode()).encode()


def webp(figure: Figure) -> bytes:
    """Return the figure as pixels without loss, fine enough for print, at less than half of a PNG's size."""
    buffer, pixels = io.BytesIO(), _saved(figure, "raw")
    size = [int(inches * _DPI) for inches in figure.get_size_inches()]
    Image.frombytes("RGBA", (size[0], size[1]), pixels).convert("RGB").save(buffer, format="webp", lossless=True)
    return buffer.getvalue()


def data_uri(figure: Figure) -> str:
    """Return the figure as an image to be put into ``src``: SVG, or pixels where SVG is large and larger."""
    drawn, kind = svg(figure), "svg+xml"
    if len(drawn) > _LARGE_SVG_BYTES:
        pixels = webp(figure)
        if len(pixels) < len(drawn):
            drawn, kind = pixels, "webp"
    return f"data:image/{kind};base64,{base64.b64encode(drawn).decode()}"


def _slim(text: str) -> str:
    """Return matplotlib's SVG at about half its size: no comments, no indents, coordinates to 1/100 point."""
    text = _GLYPH_AT.sub(lambda found: f' x="{float(found[1]):.1f}"/>', _COMMENT.sub("", text))
    text = _OUTLINE.sub(lambda found: _DECIMALS.sub(r"\1", found[0]), text)
    return _BREAK.sub("\n", text).replace("DejaVuSans-", "D")


def _saved(figure: Figure, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with mpl.rc_context(RC):
        figure.savefig(buffer, format=kind, dpi=_DPI, **options)
    return buffer.getvalue()
