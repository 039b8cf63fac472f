"""Figures of a generator: its samples, beside real scans where these are of nobody, and the nearest pairs."""

import base64
import io
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from flprivacy.core.generator_audit import GeneratorAudit
from flprivacy.reporting.figures import style
from flprivacy.reporting.figures.style import Margins, note, styled
from flprivacy.reporting.words import shorten

_MARGINS = Margins(left=0.05, right=0.05, top=0.22, bottom=0.05)
_TWO_LINES = Margins(left=0.05, right=0.05, top=0.38, bottom=0.05)
_PAIRS_IN_A_ROW, _MOST_IN_A_ROW = 4, 8


def figures_of(audit: GeneratorAudit) -> dict[str, tuple[str, Callable[[], Figure]]]:
    """Return name -> title of each figure that the audit has pictures for, and how it is drawn."""
    found: dict[str, tuple[str, Callable[[], Figure]]] = {}
    beside = " beside real scans of the same" if any(one.real for one in audit.samples) else ""
    if audit.samples:
        found["generator-samples"] = (f"Samples by hospital and class{beside}", partial(generator_samples, audit))
    if audit.nearest:
        found["generator-nearest"] = ("The nearest pairs: synthetic scan and patient", partial(nearest_pairs, audit))
    return found


@styled
def generator_samples(audit: GeneratorAudit) -> Figure:
    """Draw a row a hospital: for each class a synthetic scan and, where it may be shown, a real one."""
    sites = list(dict.fromkeys(one.site for one in audit.samples))
    labels = list(dict.fromkeys(one.label for one in audit.samples))
    both = any(one.real for one in audit.samples)
    columns = len(labels) * (1 + both)
    margins = _TWO_LINES
    size = style.PAGE_INCHES / max(columns, _MOST_IN_A_ROW) - margins.left - margins.right
    figure, panels = style.panel_grid(len(sites) * columns, columns=columns, width=size, height=size, margins=margins)
    for axes in panels:
        axes.set_axis_off()
    for one in audit.samples:
        first = sites.index(one.site) * columns + labels.index(one.label) * (1 + both)
        _show(panels[first], one.synthetic, f"{shorten(one.site, 16)}\n{shorten(one.label, 16)}", "#0072b2")
        if both:
            _show(panels[first + 1], one.real, "real", style.MUTED)
    return figure


@styled
def nearest_pairs(audit: GeneratorAudit) -> Figure:
    """Draw each pair side by side, the nearest first, with how near and whether the patient was trained on."""
    columns = 2 * _PAIRS_IN_A_ROW
    size = style.PAGE_INCHES / columns - _MARGINS.left - _MARGINS.right
    figure, panels = style.panel_grid(
        2 * len(audit.nearest), columns=columns, width=size, height=size, margins=_MARGINS
    )
    for number, pair in enumerate(audit.nearest):
        _show(panels[2 * number], pair.synthetic, f"synthetic, {pair.closeness:.2f}", "#0072b2")
        kind, colour = ("trained on", "#b42318") if pair.trained_on else ("held out", style.MUTED)
        _show(panels[2 * number + 1], pair.real, kind, colour)
    return figure


def _show(axes: Axes, picture: str, title: str, colour: str) -> None:
    axes.set_axis_off()
    if picture:
        axes.imshow(_pixels(picture), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    note(axes, title, xy=(0, 1), xycoords="axes fraction", xytext=(0, 3), color=colour, fontsize=8.5)


def _pixels(picture: str) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))) as image:
        return np.asarray(image.convert("L"))
