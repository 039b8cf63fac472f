"""Every figure that an audit has data for, with what a reader needs beside it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from flprivacy.core.attributes import AGE_YEARS
from flprivacy.core.audit import Audit
from flprivacy.reporting.figures.confusion import FEW_CLASSES, confusion_matrix, confusion_overview, confusions_of
from flprivacy.reporting.figures.curves import attack_curves, curves_of, membership_roc, roc_curves
from flprivacy.reporting.figures.forest import excess_forest
from flprivacy.reporting.figures.generator import figures_of
from flprivacy.reporting.figures.scatter import age_scatter, scatters_of
from flprivacy.reporting.figures.style import data_uri
from flprivacy.reporting.figures.utility import traded, utility_leakage
from flprivacy.reporting.findings import accesses, attributes, order, questions, targets, utilities, verdicts
from flprivacy.reporting.membership import area
from flprivacy.reporting.words import (
    access_name,
    attack_name,
    attack_on,
    in_years,
    interval,
    metric_name,
    number,
    question_title,
    signed,
    unit,
)

_DOTS_PER_INCH = 120
MEMBERSHIP, FOREST, UTILITY, GENERATOR = "membership", "forest", "utility", "generator"
CURVES, CONFUSIONS, AGES = "curves", "confusions", "ages"


@dataclass(frozen=True, kw_only=True)
class Plate:
    """One figure, not yet drawn."""

    name: str  # a file stem such as curves-site-features; unique in an audit
    section: str
    title: str
    alt: str  # what the figure shows, for a reader who cannot see it
    prominent: bool  # shown at once; the others open on demand
    draw: Callable[[], Figure]


def plates(audit: Audit) -> tuple[Plate, ...]:
    """Return every figure that the audit has data for, in the report's order; none is empty."""
    attacks = [(attribute, access) for attribute in attributes(audit) for access in accesses(audit, attribute)]
    of_attacks = [plate for draw in (_curves, _confusions, _ages) for one in attacks for plate in draw(audit, *one)]
    return (*_membership(audit), *_generator(audit), *_forest(audit), *_utility(audit), *of_attacks)


def draw_figures(audit: Audit, folder: Path, *, part: int = 0, parts: int = 1) -> dict[str, str]:
    """Write figures of an audit into a folder, as ``<name>.png``, and return name -> image for the page.

    Of so many ``parts``, which several processes share, only this one's figures are drawn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = {}
    for plate in plates(audit)[part::parts]:
        figure = plate.draw()
        figure.savefig(folder / f"{plate.name}.png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
        images[plate.name] = data_uri(figure)
    return images


def _membership(audit: Audit) -> list[Plate]:
    curves = roc_curves(audit)
    if not curves:
        return []
    known = "; ".join(f"{target}, {attack.attack}: AUC {area(attack.auc)}" for target, attack in curves)
    title = "How many members are found, at how many false alarms"
    alt = f"ROC curves of the membership attacks on logarithmic axes. {known}."
    draw = partial(membership_roc, audit)
    return [Plate(name="membership", section=MEMBERSHIP, title=title, alt=alt, prominent=True, draw=draw)]


def _generator(audit: Audit) -> list[Plate]:
    if audit.generator is None:
        return []
    return [
        Plate(name=name, section=GENERATOR, title=title, alt=f"{title}.", prominent=True, draw=draw)
        for name, (title, draw) in figures_of(audit.generator.without_patients()).items()
    ]


def _forest(audit: Audit) -> list[Plate]:
    found = []
    for question in questions(audit):
        alt = "Excess over the best baseline. " + "; ".join(
            f"{v.attack.target}, {attack_on(v.attack)}: {signed(v.excess, v.metric)}"
            f"{unit(v.metric)} {interval(v.ci_low, v.ci_high, v.metric)}, {v.verdict}"
            for v in verdicts(audit)
            if v.attack.question == question
        )
        title = question_title(question)
        draw = partial(excess_forest, audit, question=question)
        found.append(Plate(name=f"excess-{question}", section=FOREST, title=title, alt=alt, prominent=True, draw=draw))
    return found


def _utility(audit: Audit) -> list[Plate]:
    if not traded(audit):
        return []
    name, values = utilities(audit)
    known = ", ".join(f"{target} {value:.3f}" for target, value in values.items())
    alt = f"Excess of each attack against the target's {name} on the disease task: {known}."
    title = "Excess of the attacks against utility on the disease task"
    draw = partial(utility_leakage, audit)
    return [Plate(name="utility", section=UTILITY, title=title, alt=alt, prominent=True, draw=draw)]


def _curves(audit: Audit, attribute: str, access: str) -> list[Plate]:
    curves = curves_of(audit, attribute, access)
    if not curves:
        return []
    metric, largest = curves[0].metric, max(c.attack.fraction for c in curves)
    ends = [f"{c.attack.target} {number(c.mean[-1], metric)}" for c in curves if c.attack.fraction == largest]
    how = "error in years" if in_years(metric) else metric_name(metric)
    title = _title(attribute, access)
    plate = Plate(
        name=f"curves-{attribute}-{access}",
        section=CURVES,
        title=title,
        alt=f"Attack curves, {title}. Final {how} at the largest exposed fraction: {', '.join(ends)}.",
        prominent=attribute == attributes(audit)[0],
        draw=partial(attack_curves, audit, attribute=attribute, access=access),
    )
    return [plate]


def _confusions(audit: Audit, attribute: str, access: str) -> list[Plate]:
    matrices, richest = confusions_of(audit, attribute, access), access == accesses(audit, attribute)[0]
    if not matrices:
        return []
    name, title = f"confusion-{attribute}-{access}", _title(attribute, access)
    overview = Plate(
        name=name,
        section=CONFUSIONS,
        title=title,
        alt=f"Confusion matrices, {title}: {', '.join(m.attack.target for m in matrices)}.",
        prominent=attribute == attributes(audit)[0] and richest,
        draw=partial(confusion_overview, audit, attribute=attribute, access=access),
    )
    large = len(matrices[0].class_names) > FEW_CLASSES and richest
    shown = {m.attack.target for m in matrices} if large else set()
    return [
        overview,
        *(
            Plate(
                name=f"{name}-{_stem(audit, target.name)}",
                section=CONFUSIONS,
                title=f"{title}: {target.name}, with counts",
                alt=f"Confusion matrix, {title}: {target.name}, with counts.",
                prominent=False,
                draw=partial(confusion_matrix, audit, target=target.name, attribute=attribute, access=access),
            )
            for target in targets(audit)
            if target.name in shown
        ),
    ]


def _ages(audit: Audit, attribute: str, access: str) -> list[Plate]:
    scatters = scatters_of(audit, access) if attribute == AGE_YEARS.name else ()
    if not scatters:
        return []
    title = f"Age from {access_name(access)}"
    plate = Plate(
        name=f"ages-{access}",
        section=AGES,
        title=title,
        alt=f"Predicted against true age, {title}: {', '.join(s.attack.target for s in scatters)}.",
        prominent=access == accesses(audit, attribute)[0],
        draw=partial(age_scatter, audit, access=access),
    )
    return [plate]


def _stem(audit: Audit, target: str) -> str:
    """Return a target's name as part of a file name; where characters had to go, its number keeps it unique."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", target)
    return plain if plain == target else f"{plain[:40]}-{order(audit)[target]}"


def _title(attribute: str, access: str) -> str:
    name = attack_name(attribute, access)
    return f"{name[:1].upper()}{name[1:]}"
