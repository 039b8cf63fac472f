"""Utility against leakage: what a hospital network gets for what its model gives away."""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flprivacy.core.attributes import HELD_OUT
from flprivacy.core.audit import LEAK, Audit, Verdict
from flprivacy.reporting import findings, words
from flprivacy.reporting.figures import style
from flprivacy.reporting.figures.labels import Label, label_points, spread
from flprivacy.reporting.figures.style import Margins, styled

_MARKS = {"features": ("o", "circle"), "outputs": ("s", "square"), "finetune": ("^", "triangle")}
_ANOTHER_MARK = ("D", "diamond")
_COLUMNS, _HEAD_INCHES, _CHARACTER_INCHES = 2, 0.36, 0.093
_LINE_INCHES, _LINE_LETTERS = 0.2, 100
_STEP = 0.022  # between the ways of access, as a share of the span of utilities
_GUESSING = 0.5  # AUC of a model that has learnt nothing of its task
_FEW_TARGETS, _SHORT_NAME, _NAME_LENGTH = 4, 12, 18
Place = Callable[[Verdict], float]


def traded(audit: Audit) -> dict[str, tuple[Verdict, ...]]:
    """Return attribute -> verdicts, at the deciding fraction, of the targets whose utility is known."""
    _, known = findings.utilities(audit)
    found = {}
    for attribute in findings.attributes(audit):
        fraction = findings.decisive_fraction(audit, attribute)
        rows = [
            v
            for v in findings.verdicts(audit)
            if (v.attack.attribute, v.attack.fraction, v.attack.scans) == (attribute, fraction, HELD_OUT)
            and v.attack.target in known
        ]
        if rows:
            found[attribute] = tuple(rows)
    return found


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """How one audit's targets fit their panels.

    Names stand beside the marks where they are few and short; otherwise ``crowded``, and in the right margin.
    """

    crowded: bool
    margins: Margins
    width: float  # of a panel, in inches
    span: float  # of the utilities
    room: float  # for a name, right and left of the outermost marks, in units of utility


def _lay_out(utility: dict[str, float]) -> _Layout:
    longest = max(len(words.shorten(name, _NAME_LENGTH)) for name in utility)
    name_inches = 0.25 + _CHARACTER_INCHES * longest
    crowded = len(utility) > _FEW_TARGETS or longest > _SHORT_NAME
    margins = Margins(left=0.8, right=0.3 + (name_inches if crowded else 0.0), top=0.42, bottom=0.66)
    width = style.PAGE_INCHES / _COLUMNS - margins.left - margins.right
    span = max(utility.values()) - min(utility.values()) or 0.02
    room = 0.1 * span if crowded else span * name_inches / (width - 2.0 * name_inches)
    return _Layout(crowded=crowded, margins=margins, width=width, span=span, room=room)


@styled
def utility_leakage(audit: Audit) -> Figure:
    """Draw each target's excess against its utility on the disease task: a panel per attribute.

    Lower right is where a network wants to be: useful, and giving little away. A mark's shape is the access.
    """
    groups = traded(audit)
    utility_name, utility = findings.utilities(audit)
    layout = _lay_out(utility)
    figure, panels = style.panel_grid(
        len(groups),
        columns=_COLUMNS,
        width=layout.width,
        height=2.7,
        margins=layout.margins,
        head=_HEAD_INCHES + _LINE_INCHES * len(_budgets(audit)),
    )
    colours = {name: look.colour for name, look in style.target_styles(audit).items()}
    for axes, (attribute, rows) in zip(panels, groups.items(), strict=True):
        place = _placer(utility, findings.accesses(audit, attribute), layout.span)
        for verdict in rows:
            _draw_point(axes, place(verdict), verdict, colours[verdict.attack.target])
        axes.set_xlim(min(utility.values()) - layout.room, max(utility.values()) + layout.room)
        if utility_name == "AUC":
            _mark_guessing(axes)
        _dress(axes, attribute, rows, utility_name)
        labels = _target_labels(rows, place, colours, layout)
        label_points(axes, labels, size=10, at_edge=layout.crowded, pad=13)
    width, height = figure.get_size_inches()
    key, budgets = _key(way for attribute in groups for way in findings.accesses(audit, attribute)), _budgets(audit)
    figure.text(layout.margins.left / width, 1 - 0.12 / height, "\n".join([key, *budgets]), color=style.MUTED, va="top")
    return figure


def _mark_guessing(axes: Axes) -> None:
    """Shade where a model does its task no better than guessing, if that is in sight or close."""
    left, right = axes.get_xlim()
    if left < _GUESSING + 0.1:
        axes.set_xlim(min(left, _GUESSING - 0.02), max(right, _GUESSING + 0.02))
        axes.axvspan(min(left, _GUESSING - 0.02), _GUESSING, color=style.MUTED, alpha=0.12, linewidth=0)
        axes.axvline(_GUESSING, color=style.MUTED, linewidth=1.0, label="guessing")
        place = {"xy": (_GUESSING, 1.0), "xycoords": ("data", "axes fraction"), "xytext": (-3, -11), "ha": "right"}
        style.note(axes, "no use", fontsize=9, color=style.MUTED, **place)


def _key(ways: Iterable[str]) -> str:
    shapes = "; ".join(f"{_mark(way)[1]}: from {words.access_name(way)}" for way in dict.fromkeys(ways))
    return f"{shapes[:1].upper()}{shapes[1:]}. Shaded: more than the policy tolerates."


def _budgets(audit: Audit) -> list[str]:
    """Return lines of the privacy budgets of the targets that have one, such as "central-dp: epsilon 8."."""
    found = [
        f"{words.shorten(s.name, _NAME_LENGTH)}: {budget}"
        for s in findings.targets(audit)
        if (budget := words.epsilon_name(s))
    ]
    return textwrap.wrap(f"{'; '.join(found)}.", _LINE_LETTERS) if found else []


def _mark(access: str) -> tuple[str, str]:
    return _MARKS.get(access, _ANOTHER_MARK)


def _placer(utility: dict[str, float], ways: Sequence[str], span: float) -> Place:
    """Return verdict -> x; equal utilities and ways of access stand side by side, so that intervals do not coincide."""
    step = _STEP * span
    apart = spread(np.array(list(utility.values())), step * (len(ways) + 1))
    at: dict[str, float] = dict(zip(utility, apart.tolist(), strict=True))

    def place(verdict: Verdict) -> float:
        return at[verdict.attack.target] + step * (ways.index(verdict.attack.access) - (len(ways) - 1) / 2)

    return place


def _draw_point(axes: Axes, x: float, verdict: Verdict, colour: str) -> None:
    axes.plot([x, x], [verdict.ci_low, verdict.ci_high], color=colour, linewidth=1.8, solid_capstyle="butt")
    axes.plot(
        [x],
        [verdict.excess],
        linestyle="none",
        marker=_mark(verdict.attack.access)[0],
        markersize=7.5,
        color=colour,
        markeredgecolor=style.PAPER,
        markeredgewidth=0.8,
        label=f"{verdict.attack.target}/{verdict.attack.access}",
    )


def _dress(axes: Axes, attribute: str, rows: Sequence[Verdict], utility_name: str) -> None:
    metric = rows[0].metric
    axes.axhline(0.0, color=style.MUTED, linewidth=1.0, zorder=1.2)
    for threshold in sorted({v.threshold for v in rows}):
        axes.axhline(threshold, color=style.INK, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1.2, label="tolerated")
    low, high = axes.get_ylim()
    axes.axhspan(min(v.threshold for v in rows), high, color=style.VERDICT_COLOURS[LEAK], alpha=0.05, linewidth=0)
    axes.set_ylim(low, high)
    axes.set_title(words.attribute_name(attribute).capitalize())
    axes.set_xlabel(f"disease task: {utility_name}, held-out patients")
    axes.set_ylabel("excess, years of error saved" if words.in_years(metric) else f"excess {words.metric_name(metric)}")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(6))


def _target_labels(rows: Sequence[Verdict], place: Place, colours: dict[str, str], layout: _Layout) -> list[Label]:
    """Return each target's name once, for its highest mark, on the side where no other target is close."""
    highest = {v.attack.target: v for v in sorted(rows, key=lambda v: v.excess)}
    labels = []
    for v in highest.values():
        away = [place(other) - place(v) for other in rows if other.attack.target != v.attack.target]
        near_right = any(0.0 <= d < layout.room for d in away)
        near_left = any(-layout.room < d < 0.0 for d in away)
        left = near_right and not near_left and not layout.crowded
        target = v.attack.target
        text = words.shorten(target, _NAME_LENGTH)
        labels.append(Label(x=place(v), y=v.excess, text=text, colour=colours[target], bold=True, left=left))
    return labels
