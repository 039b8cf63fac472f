"""Curves: how strong an attack gets as it trains (the reference study's figure), and ROC curves of membership."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flprivacy.core.attributes import NO_ACCESS, AttackKey
from flprivacy.core.audit import Audit, Curve
from flprivacy.core.membership import SCAN, AttackExposure
from flprivacy.reporting.figures import style
from flprivacy.reporting.figures.labels import Label, label_points
from flprivacy.reporting.figures.style import PAGE_INCHES, Margins, TargetStyle, panel_grid, styled, target_styles
from flprivacy.reporting.findings import baselines, decisive_metric, estimate, order
from flprivacy.reporting.membership import area, rows_of
from flprivacy.reporting.words import in_years, metric_name, number, percent, shorten

_COLUMNS = 2
_NAME_LENGTH = 18
_ROC_COLUMNS, _PANEL_INCHES = 3, 2.35


def curves_of(audit: Audit, attribute: str, access: str) -> tuple[Curve, ...]:
    """Return the curves of one attack, with those of baselines that use no model, targets first.

    They are of the metric that decides, or of the first one there is where no curve was kept for that one.
    """
    ways = (access, NO_ACCESS)
    found = [c for c in audit.curves if c.attack.attribute == attribute and c.attack.access in ways and c.epochs]
    metrics = [c.metric for c in found if c.attack.access == access]
    if not metrics:
        return ()
    wanted = decisive_metric(audit, attribute)
    metric = wanted if wanted in metrics else metrics[0]
    position = order(audit)
    kept = [c for c in found if c.metric == metric]
    return tuple(sorted(kept, key=lambda c: (c.attack.fraction, position.get(c.attack.target, len(position)))))


@styled
def attack_curves(audit: Audit, *, attribute: str, access: str) -> Figure:
    """Draw strength against the attack's epoch: a line per target and baseline, a panel per exposed fraction.

    Bands are over attacker seeds. Errors in years are drawn upside down, so that up is stronger everywhere.
    """
    curves = curves_of(audit, attribute, access)
    fractions = sorted({c.attack.fraction for c in curves})
    metric = curves[0].metric
    longest = max(len(shorten(name, _NAME_LENGTH)) for name in order(audit))
    margins = Margins(left=0.72, right=0.85 + 0.093 * longest, top=0.42, bottom=0.62)
    width = PAGE_INCHES / _COLUMNS - margins.left - margins.right
    figure, panels = panel_grid(len(fractions), columns=_COLUMNS, width=width, height=2.95, margins=margins)
    for axes, fraction in zip(panels, fractions, strict=True):
        drawn = [c for c in curves if c.attack.fraction == fraction]
        attack = AttackKey(target="", attribute=attribute, access=access, fraction=fraction)
        constants = _constants(audit, attack, metric, drawn)
        _draw_panel(axes, drawn, constants, target_styles(audit))
        axes.set_title(f"{percent(fraction)} of the training scans exposed")
        axes.set_xlabel("epochs that the attack has trained")
        axes.set_ylabel(_strength_label(metric))
    _share_limits(panels, upside_down=in_years(metric))
    for axes in panels:
        _label_lines(axes, metric)
    return figure


def _constants(audit: Audit, attack: AttackKey, metric: str, drawn: Sequence[Curve]) -> dict[str, float]:
    """Return the strength of baselines that have nothing to train, such as the majority's."""
    trained = {c.attack.target for c in drawn}
    found = {s.name: estimate(audit, attack.on(s.name), metric) for s in baselines(audit) if s.name not in trained}
    return {name: e.value for name, e in found.items() if e is not None}


def _draw_panel(
    axes: Axes, curves: Sequence[Curve], constants: dict[str, float], styles: dict[str, TargetStyle]
) -> None:
    first, last = min(c.epochs[0] for c in curves), max(c.epochs[-1] for c in curves)
    for name, value in constants.items():
        _draw_line(axes, name, [first, last], [value, value], styles[name])
    for curve in reversed(curves):  # targets last, on top of the baselines
        style = styles[curve.attack.target]
        axes.fill_between(
            curve.epochs, curve.low, curve.high, color=style.colour, alpha=0.10 if style.baseline else 0.18, linewidth=0
        )
        _draw_line(axes, curve.attack.target, curve.epochs, curve.mean, style)
    axes.set_xlim(first, last if last > first else first + 1)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6))


def _draw_line(axes: Axes, name: str, x: Sequence[float], y: Sequence[float], style: TargetStyle) -> None:
    axes.plot(x, y, color=style.colour, linestyle=style.dash, linewidth=style.width, label=name)


def _share_limits(panels: Sequence[Axes], *, upside_down: bool) -> None:
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim((high, low) if upside_down else (max(low, 0.0), min(high, 1.0)))


def _label_lines(axes: Axes, metric: str) -> None:
    labels = []
    for line in axes.get_lines():
        y = float(line.get_ydata()[-1])  # type: ignore[index, arg-type]
        x = float(line.get_xdata()[-1])  # type: ignore[index, arg-type]
        text = f"{number(y, metric)}  {shorten(str(line.get_label()), _NAME_LENGTH)}"
        solid = line.get_linestyle() == "-"
        labels.append(Label(x=x, y=y, text=text, colour=str(line.get_color()), bold=solid))
    label_points(axes, labels, size=10, at_edge=True, pad=14)


def _strength_label(metric: str) -> str:
    return "mean error, years (axis reversed)" if in_years(metric) else metric_name(metric)


def roc_curves(audit: Audit) -> list[tuple[str, AttackExposure]]:
    """Return (target, the attack on its scans that decides, or the first) of every target with numbers."""
    made = []
    for finding in audit.membership:
        if finding.level == SCAN and finding.attacks:
            chosen = next((row.attack for row in rows_of(finding) if row.decides), finding.attacks[0])
            made.append((finding.target, chosen))
    return made


@styled
def membership_roc(audit: Audit) -> Figure:
    """Draw one panel a target: the curve of one attack with its band, and chance."""
    curves, looks = roc_curves(audit), style.target_styles(audit)
    margins = Margins(left=0.75, right=0.3, top=0.62, bottom=0.62)
    width = style.PAGE_INCHES / _ROC_COLUMNS - margins.left - margins.right
    figure, panels = style.panel_grid(
        len(curves), columns=_ROC_COLUMNS, width=width, height=_PANEL_INCHES, margins=margins
    )
    least = min(min((f for f in attack.roc.fpr if f > 0.0), default=0.1) for _, attack in curves)
    for axes, (target, attack) in zip(panels, curves, strict=True):
        colour, roc = looks[target].colour, attack.roc
        axes.plot((least, 1.0), (least, 1.0), color=style.MUTED, linestyle=(0.0, (2.5, 1.5)), linewidth=1.2)
        axes.fill_between(roc.fpr, roc.tpr_low, roc.tpr_high, color=colour, alpha=0.18, linewidth=0, step="post")
        axes.plot(roc.fpr, roc.tpr, color=colour, linewidth=2.0, drawstyle="steps-post")
        axes.set(xscale="log", yscale="log", xlim=(least, 1.0), ylim=(least, 1.0))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(
                lambda share, _: f"{100.0 * share:g}%"
            )  # not in TeX, as no text here is read as such
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        style.head_panel(axes, target, colour, f"{attack.attack}, AUC {area(attack.auc)}")
    return figure
