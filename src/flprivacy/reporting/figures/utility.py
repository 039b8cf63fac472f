"""Utility against leakage: what a hospital network gets for what its model gives away."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flprivacy.core.audit import LEAK, Audit, Verdict
from flprivacy.reporting.figures.labels import Label, label_points
from flprivacy.reporting.figures.style import (
    INK,
    MUTED,
    PAGE_INCHES,
    PAPER,
    VERDICT_COLOURS,
    Margins,
    panel_grid,
    styled,
    target_styles,
)
from flprivacy.reporting.findings import accesses, attributes, decisive_fraction, utilities, verdicts
from flprivacy.reporting.words import access_name, attribute_name, in_years, metric_name, shorten

_MARKS = {"features": ("o", "circle"), "outputs": ("s", "square"), "finetune": ("^", "triangle")}
_ANOTHER_MARK = ("D", "diamond")
_COLUMNS, _FEW_TARGETS, _NAME_LENGTH = 2, 4, 18
_ROOM = 0.42  # for a label beside the outermost points, as a share of the span of utilities
Place = Callable[[Verdict], float]


def traded(audit: Audit) -> dict[str, tuple[Verdict, ...]]:
    """Return attribute -> verdicts, at the deciding fraction, of the targets whose utility is known."""
    _, known = utilities(audit)
    found = {}
    for attribute in attributes(audit):
        fraction = decisive_fraction(audit, attribute)
        rows = [v for v in verdicts(audit) if (v.attribute, v.fraction) == (attribute, fraction) and v.target in known]
        if rows:
            found[attribute] = tuple(rows)
    return found


@styled
def utility_leakage(audit: Audit) -> Figure:
    """Draw each target's excess against its utility on the disease task: a panel per attribute.

    Lower right is where a network wants to be: useful and silent. The shape of a mark is the way of access.
    """
    groups = traded(audit)
    utility_name, utility = utilities(audit)
    names = [shorten(name, _NAME_LENGTH) for name in utility]
    crowded = len(names) > _FEW_TARGETS
    right = 0.55 + 0.093 * max(map(len, names)) if crowded else 0.3
    margins = Margins(left=0.8, right=right, top=0.42, bottom=0.66)
    width = PAGE_INCHES / _COLUMNS - margins.left - margins.right
    figure, panels = panel_grid(len(groups), columns=_COLUMNS, width=width, height=2.7, margins=margins, head=0.36)
    colours = {name: style.colour for name, style in target_styles(audit).items()}
    span = max(utility.values()) - min(utility.values()) or 0.02
    for axes, (attribute, rows) in zip(panels, groups.items(), strict=True):
        place = _placer(utility, accesses(audit, attribute), span)
        for verdict in rows:
            _draw_point(axes, place(verdict), verdict, colours[verdict.target])
        room = 0.1 * span if crowded else _ROOM * span
        axes.set_xlim(min(utility.values()) - room, max(utility.values()) + room)
        _dress(axes, attribute, rows, utility_name)
        label_points(
            axes,
            _target_labels(rows, place, colours, crowded=crowded, span=span),
            size=10,
            at_edge=crowded,
            pad=13,
        )
    ways = dict.fromkeys(way for attribute in groups for way in accesses(audit, attribute))
    shapes = "; ".join(f"{_mark(way)[1]}: from {access_name(way)}" for way in ways)
    height = figure.get_size_inches()[1]
    text = f"{shapes[:1].upper()}{shapes[1:]}. Shaded: more than the policy tolerates."
    figure.text(margins.left / figure.get_size_inches()[0], 1 - 0.24 / height, text, color=MUTED, va="center")
    return figure


def _mark(access: str) -> tuple[str, str]:
    return _MARKS.get(access, _ANOTHER_MARK)


def _placer(utility: dict[str, float], ways: Sequence[str], span: float) -> Place:
    """Return verdict -> x; ways of access stand a little apart so that their intervals can be told apart."""

    def place(verdict: Verdict) -> float:
        return utility[verdict.target] + 0.022 * span * (ways.index(verdict.access) - (len(ways) - 1) / 2)

    return place


def _draw_point(axes: Axes, x: float, verdict: Verdict, colour: str) -> None:
    axes.plot([x, x], [verdict.ci_low, verdict.ci_high], color=colour, linewidth=1.8, solid_capstyle="butt")
    axes.plot(
        [x],
        [verdict.excess],
        linestyle="none",
        marker=_mark(verdict.access)[0],
        markersize=7.5,
        color=colour,
        markeredgecolor=PAPER,
        markeredgewidth=0.8,
        label=f"{verdict.target}/{verdict.access}",
    )


def _dress(axes: Axes, attribute: str, rows: Sequence[Verdict], utility_name: str) -> None:
    metric = rows[0].metric
    axes.axhline(0.0, color=MUTED, linewidth=1.0, zorder=1.2)
    for threshold in sorted({v.threshold for v in rows}):
        axes.axhline(threshold, color=INK, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1.2, label="tolerated")
    low, high = axes.get_ylim()
    axes.axhspan(min(v.threshold for v in rows), high, color=VERDICT_COLOURS[LEAK], alpha=0.05, linewidth=0)
    axes.set_ylim(low, high)
    axes.set_title(attribute_name(attribute).capitalize())
    axes.set_xlabel(f"disease task: {utility_name}, held-out patients")
    axes.set_ylabel("excess, years of error saved" if in_years(metric) else f"excess {metric_name(metric)}")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(6))


def _target_labels(
    rows: Sequence[Verdict], place: Place, colours: dict[str, str], *, crowded: bool, span: float
) -> list[Label]:
    """Return each target's name once, for its highest mark.

    Beside the mark, it stands on the side where no other target is close; in a crowd all names go to the margin.
    """
    highest = {v.target: v for v in sorted(rows, key=lambda v: v.excess)}
    labels = []
    for v in highest.values():
        away = [place(other) - place(v) for other in rows if other.target != v.target]
        near_right = any(0.0 <= d < _ROOM * span for d in away)
        near_left = any(-_ROOM * span < d < 0.0 for d in away)
        left = near_right and not near_left and not crowded
        text = shorten(v.target, _NAME_LENGTH)
        labels.append(Label(x=place(v), y=v.excess, text=text, colour=colours[v.target], bold=True, left=left))
    return labels
