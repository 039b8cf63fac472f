"""Age scatter: predicted against true age, target by target."""

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flprivacy.core.attributes import AGE_YEARS
from flprivacy.core.audit import AgeScatter, Audit
from flprivacy.reporting.figures import style
from flprivacy.reporting.figures.style import INK, Margins, head_panel, styled
from flprivacy.reporting.findings import drawn_together, estimate


def scatters_of(audit: Audit, access: str) -> tuple[AgeScatter, ...]:
    """Return the scatters of one way of access at the deciding fraction, with those of the pixel attacker."""
    return drawn_together(audit, [s for s in audit.scatters if s.truth_years], AGE_YEARS.name, access)


@styled
def age_scatter(audit: Audit, *, access: str) -> Figure:
    """Draw predicted against true age: a panel per target, with the line of a perfect guess.

    The error written in each panel is the audit's (mean over attacker seeds and models), not that of the drawn
    points, which are means over seeds and so lie closer to the line.
    """
    scatters = scatters_of(audit, access)
    margins = Margins(left=0.72, right=0.25, top=0.66, bottom=0.62)
    columns = style.balanced_columns(len(scatters))
    size = min(style.PAGE_INCHES / columns - margins.left - margins.right, 2.8)
    figure, panels = style.panel_grid(len(scatters), columns=columns, width=size, height=size, margins=margins)
    styles = style.target_styles(audit)
    years = np.concatenate([np.asarray(v) for s in scatters for v in (s.truth_years, s.predicted_years)])
    limits = float(years.min()) - 2.0, float(years.max()) + 2.0
    for axes, scatter in zip(panels, scatters, strict=True):
        axes.plot(limits, limits, color=INK, linewidth=1.0, linestyle=(0, (4, 2)), label="perfect guess")
        axes.scatter(
            scatter.truth_years,
            scatter.predicted_years,
            s=13,
            color=styles[scatter.attack.target].colour,
            alpha=0.45,
            linewidths=0,
            label=scatter.attack.target,
        )
        _dress(axes, limits)
        colour = styles[scatter.attack.target].colour
        head_panel(axes, scatter.attack.target, colour, _error_text(audit, scatter, access))
    return figure


def _dress(axes: Axes, limits: tuple[float, float]) -> None:
    axes.set_xlim(*limits)
    axes.set_ylim(*limits)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("true age, years")
    axes.set_ylabel("predicted age, years")


def _error_text(audit: Audit, scatter: AgeScatter, access: str) -> str:
    measured = estimate(audit, replace(scatter.attack, access=access), AGE_YEARS.metric)
    if measured is not None:
        return f"mean absolute error {measured.value:.2f} years"
    drawn = np.abs(np.asarray(scatter.truth_years) - np.asarray(scatter.predicted_years)).mean()
    return f"mean absolute error of these points {drawn:.2f} years"
