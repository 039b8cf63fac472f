"""Every figure that an audit has data for, with what a reader needs beside it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from flprivacy.core.attributes import AGE_YEARS
from flprivacy.core.audit import Audit, ConfusionMatrix
from flprivacy.core.progress import track
from flprivacy.reporting.figures.confusion import FEW_CLASSES, confusion_matrix, confusion_overview, confusions_of
from flprivacy.reporting.figures.curves import attack_curves, curves_of
from flprivacy.reporting.figures.forest import excess_forest
from flprivacy.reporting.figures.scatter import age_scatter, scatters_of
from flprivacy.reporting.figures.utility import traded, utility_leakage
from flprivacy.reporting.findings import accesses, attributes, order, targets, utilities, verdicts
from flprivacy.reporting.words import access_name, attack_name, in_years, interval, metric_name, number, signed, unit

_DOTS_PER_INCH = 120
FOREST, UTILITY, CURVES, CONFUSIONS, AGES = "forest", "utility", "curves", "confusions", "ages"


@dataclass(frozen=True, kw_only=True)
class Plate:
    """One figure, not yet drawn.

    Attributes:
        name: a file stem such as ``curves-site-features``; unique in an audit.
        section: ``forest``, ``utility``, ``curves``, ``confusions`` or ``ages``.
        title: a heading.
        alt: what the figure shows, in words, for a reader who cannot see it.
        prominent: shown at once; the others open on demand.
        draw: makes the figure.
    """

    name: str
    section: str
    title: str
    alt: str
    prominent: bool
    draw: Callable[[], Figure]


def plates(audit: Audit) -> tuple[Plate, ...]:
    """Return every figure that the audit has data for, in the report's order; none is empty."""
    return (*_forest(audit), *_utility(audit), *_curves(audit), *_confusions(audit), *_ages(audit))


def write_figures(audit: Audit, folder: Path) -> None:
    """Write every figure that the audit has data for into a folder, as ``<name>.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    for plate in track(plates(audit), "drawing figures"):
        plate.draw().savefig(folder / f"{plate.name}.png", dpi=_DOTS_PER_INCH, metadata={"Software": None})


def _forest(audit: Audit) -> list[Plate]:
    rows = verdicts(audit)
    if not rows:
        return []
    alt = "Excess over the best baseline. " + "; ".join(
        f"{v.attack.target}, {attack_name(v.attack.attribute, v.attack.access)}: {signed(v.excess, v.metric)}"
        f"{unit(v.metric)} {interval(v.ci_low, v.ci_high, v.metric)}, {v.verdict}"
        for v in rows
    )
    title = "What each target adds to the best baseline"
    draw = partial(excess_forest, audit)
    return [Plate(name="excess", section=FOREST, title=title, alt=alt, prominent=True, draw=draw)]


def _utility(audit: Audit) -> list[Plate]:
    if not traded(audit):
        return []
    name, values = utilities(audit)
    known = ", ".join(f"{target} {value:.3f}" for target, value in values.items())
    alt = f"Excess of each attack against the target's {name} on the disease task: {known}."
    draw = partial(utility_leakage, audit)
    return [
        Plate(
            name="utility",
            section=UTILITY,
            title="Excess of the attacks against utility on the disease task",
            alt=alt,
            prominent=True,
            draw=draw,
        )
    ]


def _curves(audit: Audit) -> list[Plate]:
    found = []
    for attribute in attributes(audit):
        for access in accesses(audit, attribute):
            curves = curves_of(audit, attribute, access)
            if not curves:
                continue
            metric, largest = curves[0].metric, max(c.attack.fraction for c in curves)
            ends = [f"{c.attack.target} {number(c.mean[-1], metric)}" for c in curves if c.attack.fraction == largest]
            how = "error in years" if in_years(metric) else metric_name(metric)
            title = _title(attribute, access)
            found.append(
                Plate(
                    name=f"curves-{attribute}-{access}",
                    section=CURVES,
                    title=title,
                    alt=f"Attack curves, {title}. Final {how} at the largest exposed fraction: {', '.join(ends)}.",
                    prominent=attribute == attributes(audit)[0],
                    draw=partial(attack_curves, audit, attribute=attribute, access=access),
                )
            )
    return found


def _confusions(audit: Audit) -> list[Plate]:
    found = []
    for attribute in attributes(audit):
        for n_access, access in enumerate(accesses(audit, attribute)):
            matrices = confusions_of(audit, attribute, access)
            if not matrices:
                continue
            prominent = attribute == attributes(audit)[0]
            found.append(_overview(audit, attribute, access, matrices, prominent=prominent and n_access == 0))
            if len(matrices[0].class_names) > FEW_CLASSES and n_access == 0:
                under_audit = {s.name for s in targets(audit)}
                found += [
                    _one_matrix(audit, matrix, access) for matrix in matrices if matrix.attack.target in under_audit
                ]
    return found


def _overview(
    audit: Audit, attribute: str, access: str, matrices: tuple[ConfusionMatrix, ...], *, prominent: bool
) -> Plate:
    title = _title(attribute, access)
    return Plate(
        name=f"confusion-{attribute}-{access}",
        section=CONFUSIONS,
        title=title,
        alt=f"Confusion matrices, {title}: {', '.join(m.attack.target for m in matrices)}.",
        prominent=prominent,
        draw=partial(confusion_overview, audit, attribute=attribute, access=access),
    )


def _one_matrix(audit: Audit, matrix: ConfusionMatrix, access: str) -> Plate:
    attribute, target = matrix.attack.attribute, matrix.attack.target
    title = f"{_title(attribute, access)}: {target}, with counts"
    return Plate(
        name=f"confusion-{attribute}-{access}-{_stem(audit, target)}",
        section=CONFUSIONS,
        title=title,
        alt=f"Confusion matrix, {title}.",
        prominent=False,
        draw=partial(confusion_matrix, audit, target=target, attribute=attribute, access=access),
    )


def _ages(audit: Audit) -> list[Plate]:
    found = []
    for n_access, access in enumerate(accesses(audit, AGE_YEARS.name)):
        scatters = scatters_of(audit, access)
        if scatters:
            title = f"Age from {access_name(access)}"
            found.append(
                Plate(
                    name=f"ages-{access}",
                    section=AGES,
                    title=title,
                    alt=f"Predicted against true age, {title}: {', '.join(s.attack.target for s in scatters)}.",
                    prominent=n_access == 0,
                    draw=partial(age_scatter, audit, access=access),
                )
            )
    return found


def _stem(audit: Audit, target: str) -> str:
    """Return a target's name as part of a file name; where characters had to go, its number keeps it unique."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", target)
    return plain if plain == target else f"{plain[:40]}-{order(audit)[target]}"


def _title(attribute: str, access: str) -> str:
    name = attack_name(attribute, access)
    return f"{name[:1].upper()}{name[1:]}"
