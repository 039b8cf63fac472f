"""Confusion matrices: which classes an attack tells apart."""

import textwrap
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from flprivacy.core.array_types import FloatArray
from flprivacy.core.audit import Audit, ConfusionMatrix
from flprivacy.core.errors import AuditError
from flprivacy.reporting.figures import style
from flprivacy.reporting.figures.style import INK, MUTED, PAPER, Margins, head_panel, note, styled
from flprivacy.reporting.findings import decisive_metric, drawn_together, estimate
from flprivacy.reporting.words import attribute_name, metric_name, number, shorten

FEW_CLASSES = 6  # up to here the overview itself has room for every count
_MANY_CLASSES = 32  # beyond this, counts would be too small to read
_COLOURS = "Blues"
_GAMMA = 0.6  # lifts the small shares, which is where 21 classes differ; the scale's ticks say so
_HEAD_INCHES, _CHARACTER_INCHES = 0.45, 0.082


def confusions_of(audit: Audit, attribute: str, access: str) -> tuple[ConfusionMatrix, ...]:
    """Return the matrices of an attack at the deciding fraction, with those of baselines that use no model."""
    return drawn_together(audit, audit.confusions, attribute, access)


def row_shares(matrix: ConfusionMatrix) -> FloatArray:
    """Return (truth, prediction) shares of each true class; a class without scans has zeros."""
    counts = np.asarray(matrix.counts, dtype=np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    shares: FloatArray = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    return shares


@styled
def confusion_overview(audit: Audit, *, attribute: str, access: str) -> Figure:
    """Draw the matrices of every target and baseline side by side, on one colour scale.

    Colour is the share of each true class. With few classes the counts are written, too.
    """
    matrices = confusions_of(audit, attribute, access)
    names = _class_names(matrices[0], wrap=9)
    few, widest = len(names) <= FEW_CLASSES, max(len(line) for name in names for line in name.splitlines())
    labels = _CHARACTER_INCHES * widest + 0.1 if few else 0.0
    margins = Margins(left=0.4 + labels, right=0.15, top=0.68, bottom=0.72 if few else 0.35)
    columns = style.balanced_columns(len(matrices))
    size = min(style.PAGE_INCHES / columns - margins.left - margins.right, 2.9)
    figure, panels = style.panel_grid(
        len(matrices), columns=columns, width=size, height=size, margins=margins, head=_HEAD_INCHES
    )
    for axes, matrix in zip(panels, matrices, strict=True):
        image = _draw_shares(axes, matrix)
        if few:
            _write_counts(axes, matrix, 10.0)
        axes.set_xticks(range(len(names)) if few else [], names if few else [])
        axes.set_yticks(range(len(names)) if few else [], names if few else [])
        axes.set_xlabel("predicted", labelpad=4)
        axes.set_ylabel("true", labelpad=4)
        _head(axes, audit, matrix, access)
    _draw_scale(figure, image)
    return figure


@styled
def confusion_matrix(audit: Audit, *, target: str, attribute: str, access: str) -> Figure:
    """Draw one target's matrix large, with the count in each cell (mean over attacker seeds and models).

    Raises:
        AuditError: the audit has no such matrix.
    """
    matrix = next((c for c in confusions_of(audit, attribute, access) if c.attack.target == target), None)
    if matrix is None:
        raise AuditError(
            f"audit {audit.name!r} has no confusion matrix of {attribute} from {access} for target {target!r}; "
            "choose one of those in Audit.confusions"
        )
    names = _class_names(matrix)
    labels = _CHARACTER_INCHES * max(len(name) for name in names)
    size = min(max(len(names) * 0.36, 2.4), 9.0)
    margins = Margins(left=0.45 + labels + 0.6, right=0.25, top=0.68, bottom=0.5 + labels)
    figure, (axes,) = style.panel_grid(1, columns=1, width=size, height=size, margins=margins, head=_HEAD_INCHES)
    image = _draw_shares(axes, matrix)
    if len(names) <= _MANY_CLASSES:
        _write_counts(axes, matrix, 9.0)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=9)
    axes.set_yticks(range(len(names)), _with_totals(names, matrix), fontsize=9)
    axes.set_xlabel(f"predicted {attribute_name(attribute)}")
    axes.set_ylabel(f"true {attribute_name(attribute)} (n: held-out scans)")
    _head(axes, audit, matrix, access)
    _draw_scale(figure, image)
    return figure


def _draw_shares(axes: Axes, matrix: ConfusionMatrix) -> AxesImage:
    norm = PowerNorm(_GAMMA, vmin=0.0, vmax=1.0)
    image = axes.imshow(row_shares(matrix), cmap=_COLOURS, norm=norm, interpolation="nearest")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
    return image


def _write_counts(axes: Axes, matrix: ConfusionMatrix, size: float) -> None:
    """Write rounded counts, and nothing where they round to zero; dark cells get light type."""
    shares = row_shares(matrix)
    for i, row in enumerate(matrix.counts):
        for j, count in enumerate(row):
            if round(count) > 0:
                colour = PAPER if shares[i, j] > 0.42 else INK
                axes.text(j, i, f"{count:.0f}", ha="center", va="center", fontsize=size, color=colour)


def _class_names(matrix: ConfusionMatrix, wrap: int | None = None) -> list[str]:
    names = [shorten(name, 18) for name in matrix.class_names]
    return names if wrap is None else [textwrap.fill(name, wrap) for name in names]


def _with_totals(names: Sequence[str], matrix: ConfusionMatrix) -> list[str]:
    return [f"{name} (n={sum(row):.0f})" for name, row in zip(names, matrix.counts, strict=True)]


def _head(axes: Axes, audit: Audit, matrix: ConfusionMatrix, access: str) -> None:
    """Write the target's name and how strong the attack was."""
    metric = decisive_metric(audit, matrix.attack.attribute)
    measured = estimate(audit, replace(matrix.attack, access=access), metric)
    text = f"{metric_name(metric)} {number(measured.value, metric)}" if measured is not None else ""
    head_panel(axes, matrix.attack.target, style.target_styles(audit)[matrix.attack.target].colour, text)


def _draw_scale(figure: Figure, image: AxesImage) -> None:
    """Draw the colour scale above the panels, at the left."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0.4 / width, 1 - 0.25 / height, 1.9 / width, 0.14 / height))
    axes.set_label("scale")
    bar = figure.colorbar(image, cax=axes, orientation="horizontal", ticks=[0.0, 0.1, 0.25, 0.5, 1.0])
    bar.ax.set_xticklabels(["0", "10", "25", "50", "100%"], fontsize=9)
    bar.ax.tick_params(pad=2)
    note(
        axes, "share of the true class", xy=(1, 0.5), xycoords="axes fraction", xytext=(16, 0), va="center", color=MUTED
    )
