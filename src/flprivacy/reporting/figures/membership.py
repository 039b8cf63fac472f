"""ROC curves of membership attacks, on logarithmic axes: what counts is on the left."""

from matplotlib.figure import Figure

from flprivacy.core.audit import Audit
from flprivacy.core.membership import SCAN, AttackExposure
from flprivacy.reporting.figures import style
from flprivacy.reporting.figures.style import Margins, styled
from flprivacy.reporting.membership import area, rows_of

_COLUMNS, _PANEL_INCHES = 3, 2.35


def curves_of(audit: Audit) -> list[tuple[str, AttackExposure]]:
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
    curves, looks = curves_of(audit), style.target_styles(audit)
    margins = Margins(left=0.75, right=0.3, top=0.62, bottom=0.62)
    width = style.PAGE_INCHES / _COLUMNS - margins.left - margins.right
    figure, panels = style.panel_grid(len(curves), columns=_COLUMNS, width=width, height=_PANEL_INCHES, margins=margins)
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
