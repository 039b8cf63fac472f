"""Figures of a check of private training: the canaries' scores, and what they prove against the claim."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flprivacy.core.audit import LEAK, NO_LEAK
from flprivacy.core.dp_check import CONTRADICTED, DpCheck
from flprivacy.reporting.figures import style
from flprivacy.reporting.figures.style import Margins, note, styled

_IN, _OUT = "#0072b2", "#8a94a0"
_BINS = 40
_ROW_INCHES = 0.34


@styled
def canary_scores(check: DpCheck) -> Figure:
    """Draw the distribution of each score for canaries that were in and canaries that were out: a panel per score."""
    margins = Margins(left=0.7, right=0.35, top=0.42, bottom=0.62)
    columns = max(2, len(check.scores))
    width = style.PAGE_INCHES / columns - margins.left - margins.right
    figure, panels = style.panel_grid(len(check.scores), columns=columns, width=width, height=2.3, margins=margins)
    for axes, (name, groups) in zip(panels, check.scores.items(), strict=True):
        inside, outside = np.asarray(groups["in"]), np.asarray(groups["out"])
        edges = np.histogram_bin_edges(np.concatenate([inside, outside]), _BINS).tolist()
        for values, colour, label in ((outside, _OUT, "out"), (inside, _IN, "in")):
            axes.hist(values, edges, color=colour, alpha=0.55, label=f"{len(values)} canaries {label}")
        axes.set_title(name)
        axes.set_xlabel("score")
        axes.set_ylabel("canaries")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.legend(frameon=False, fontsize=9.5, loc="upper right")
        axes.set_ylim(top=1.28 * axes.get_ylim()[1])
    return figure


@styled
def bounds_against_claim(check: DpCheck) -> Figure:
    """Draw every lower bound as a bar, and the claim as a line that none should cross."""
    margins = Margins(left=2.9, right=0.9, top=0.3, bottom=0.62)
    width = style.PAGE_INCHES - margins.left - margins.right
    figure, (axes,) = style.stacked_panels([_ROW_INCHES * len(check.bounds)], width=width, margins=margins)
    colour = style.VERDICT_COLOURS[LEAK if check.verdict == CONTRADICTED else NO_LEAK]
    rows = np.arange(len(check.bounds))
    values = [bound.epsilon_lower for bound in check.bounds]
    shades = [colour if value > check.claimed_epsilon else style.MUTED for value in values]
    axes.barh(rows, values, height=0.62, color=shades, alpha=0.75)
    for row, value in zip(rows.tolist(), values, strict=True):
        axes.annotate(f"{value:.2f}", (value, row), (4, 0), textcoords="offset points", va="center", color=style.INK)
    axes.set_yticks(rows, [f"{bound.method}, {bound.score}" for bound in check.bounds])
    axes.invert_yaxis()
    axes.set_xlim(0.0, 1.12 * max(check.claimed_epsilon, *values))
    axes.set_xlabel(f"epsilon at delta {check.delta:.1g}")
    _draw_claim(axes, check.claimed_epsilon)
    axes.grid(visible=False, axis="y")
    return figure


def _draw_claim(axes: Axes, claimed: float) -> None:
    axes.axvline(claimed, color=style.INK, linewidth=1.6)
    place = {"xy": (claimed, 1.0), "xycoords": axes.get_xaxis_transform(), "xytext": (4, 3)}
    note(axes, f"claimed {claimed:.2f}", color=style.INK, fontweight="bold", **place)
