"""The forest plot: how much each target gives away beyond the best baseline, with interval and verdict."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flprivacy.core.attributes import MEMBERS
from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK, Audit, Verdict
from flprivacy.reporting import findings, words
from flprivacy.reporting.figures import style
from flprivacy.reporting.figures.style import Margins, note, styled

_ROW_INCHES = 0.29
_TEXT_INCHES = 3.75  # for excess and verdict, right of the plot
_FILL_STYLES = {LEAK: "full", INCONCLUSIVE: "left", NO_LEAK: "none"}


@styled
def excess_forest(audit: Audit, *, question: str) -> Figure:
    """Draw the excess of every verdict on a question with its interval: a panel per attribute, a row per target and
    attack.

    A filled mark is a leak, a half-filled one undecided, a hollow one no leak found. The dashed line is the excess
    that the policy tolerates. Panels in the same metric share their axis.
    """
    position = findings.order(audit)
    groups = [
        sorted(rows, key=lambda v: (v.attack.fraction, position.get(v.attack.target, len(position))))
        for attribute in findings.attributes(audit)
        if (
            rows := [
                v for v in findings.verdicts(audit) if (v.attack.question, v.attack.attribute) == (question, attribute)
            ]
        )
    ]
    several_fractions = len({v.attack.fraction for v in audit.verdicts}) > 1
    names = [[_row_name(v, with_fraction=several_fractions) for v in rows] for rows in groups]
    left = max(0.3 + 0.083 * max(len(name) for of_group in names for name in of_group), 1.5)
    margins = Margins(left=left, right=_TEXT_INCHES, top=0.5, bottom=0.64)
    heights = [_ROW_INCHES * (len(rows) + 0.4) for rows in groups]
    width = style.PAGE_INCHES - margins.left - margins.right
    figure, panels = style.stacked_panels(heights, width=width, margins=margins)
    for axes, rows, row_names in zip(panels, groups, names, strict=True):
        for i, verdict in enumerate(rows):
            _draw_row(axes, i, verdict)
        axes.set_ylim(len(rows) - 0.3, -0.7)
        axes.set_yticks(range(len(rows)), row_names)
        _dress(axes, rows)
        title = words.attribute_name(rows[0].attack.attribute).capitalize()
        axes.set_title(title, x=(0.02 - left) / width, pad=4)
    for metric in {rows[0].metric for rows in groups}:
        _share_limits([axes for axes, rows in zip(panels, groups, strict=True) if rows[0].metric == metric])
    return figure


def _draw_row(axes: Axes, y: float, verdict: Verdict) -> None:
    colour = style.VERDICT_COLOURS.get(verdict.verdict, style.MUTED)
    axes.plot([verdict.ci_low, verdict.ci_high], [y, y], color=colour, linewidth=2.0, solid_capstyle="butt")
    axes.plot(
        [verdict.excess],
        [y],
        linestyle="none",
        marker="o",
        markersize=8,
        color=colour,
        fillstyle=_FILL_STYLES.get(verdict.verdict, "none"),
        markerfacecoloralt=style.PAPER,
        markeredgecolor=colour,
        markeredgewidth=1.6,
        label=verdict.attack.target,
    )
    bounds = words.interval(verdict.ci_low, verdict.ci_high, verdict.metric)
    amount = f"{words.signed(verdict.excess, verdict.metric)} {bounds}"
    beside = {"xy": (1.0, y), "xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 10}
    note(axes, amount, xytext=(12, 0), color=style.INK, **beside)
    note(axes, verdict.verdict, xytext=(172, 0), color=colour, fontweight="bold", **beside)


def _dress(axes: Axes, rows: Sequence[Verdict]) -> None:
    metric = rows[0].metric
    axes.axvline(0.0, color=style.MUTED, linewidth=1.0)
    for threshold in sorted({v.threshold for v in rows}):
        axes.axvline(threshold, color=style.INK, linewidth=1.0, linestyle=(0, (4, 2)), label="tolerated")
        place = {"xy": (threshold, 1.0), "xycoords": ("data", "axes fraction"), "xytext": (0, 4)}
        note(axes, f"tolerated {words.number(threshold, metric)}", fontsize=9.5, ha="center", **place)
    axes.tick_params(axis="y", labelcolor=style.INK, labelsize=10.5)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    unit = "years of error saved" if words.in_years(metric) else words.metric_name(metric)
    what = "on training beyond other patients, over" if rows[0].attack.scans == MEMBERS else "over"
    axes.set_xlabel(f"excess {what} the best baseline, {unit}")


def _row_name(verdict: Verdict, *, with_fraction: bool) -> str:
    name = f"{words.shorten(verdict.attack.target, 26)}, {words.access_name(verdict.attack.access)}"
    return f"{name}, {words.percent(verdict.attack.fraction)}" if with_fraction else name


def _share_limits(panels: Sequence[Axes]) -> None:
    low = min(axes.get_xlim()[0] for axes in panels)
    high = max(axes.get_xlim()[1] for axes in panels)
    for axes in panels:
        axes.set_xlim(low, high)
