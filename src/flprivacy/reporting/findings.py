"""What an audit holds, selected and ordered the way that every figure and table shows it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from flprivacy.core.attributes import BY_NAME, HELD_OUT, NO_ACCESS, AttackKey, attribute_of
from flprivacy.core.audit import (
    INCONCLUSIVE,
    LEAK,
    NO_LEAK,
    AgeScatter,
    Audit,
    ConfusionMatrix,
    MetricEstimate,
    TargetSummary,
    Verdict,
)
from flprivacy.core.vocabulary import ACCESSES, QUESTIONS

Drawn = TypeVar("Drawn", ConfusionMatrix, AgeScatter)

BASELINE = "baseline"
_ACCESS_ORDER = (*ACCESSES, NO_ACCESS)


def _ranked(names: Iterable[str], order: Sequence[str]) -> tuple[str, ...]:
    """Return distinct names, the known ones in ``order`` and the others behind them by name."""
    return tuple(sorted(set(names), key=lambda n: (order.index(n) if n in order else len(order), n)))


def targets(audit: Audit) -> tuple[TargetSummary, ...]:
    """Return the models under investigation, in the audit's order."""
    return tuple(s for s in audit.summaries if s.role != BASELINE)


def baselines(audit: Audit) -> tuple[TargetSummary, ...]:
    """Return the baselines, in the audit's order."""
    return tuple(s for s in audit.summaries if s.role == BASELINE)


def order(audit: Audit) -> dict[str, int]:
    """Return name -> position, targets before baselines."""
    return {s.name: i for i, s in enumerate((*targets(audit), *baselines(audit)))}


def partly_loaded(summary: TargetSummary) -> bool:
    """Return whether fewer tensors were loaded than the architecture has."""
    return summary.tensors_matched < summary.tensors_total


def attributes(audit: Audit) -> tuple[str, ...]:
    """Return the attacked attributes: site, sex, age band, age in years, then any others."""
    return _ranked((attack.attribute for attack in audit.attacks()), tuple(BY_NAME))


def accesses(audit: Audit, attribute: str) -> tuple[str, ...]:
    """Return the ways of access by which an attribute was attacked, without the baselines that use no model."""
    ways = {attack.access for attack in audit.attacks() if attack.attribute == attribute}
    return _ranked(ways - {NO_ACCESS}, _ACCESS_ORDER)


def decisive_fraction(audit: Audit, attribute: str) -> float | None:
    """Return the exposed fraction that the verdicts are about, else the largest attacked; None if there is none."""
    ruled = [v.attack.fraction for v in audit.verdicts if v.attack.attribute == attribute]
    attacked = [attack.fraction for attack in audit.attacks() if attack.attribute == attribute]
    return max(ruled or attacked, default=None)


def decisive_metric(audit: Audit, attribute: str) -> str:
    """Return the metric that the verdicts are about, else the attribute's main one."""
    usual = attribute_of(attribute).metric
    return next((v.metric for v in audit.verdicts if v.attack.attribute == attribute), usual)


def decided(audit: Audit, target: str) -> tuple[Verdict, ...]:
    """Return a target's verdicts, by attribute, access and fraction."""
    return tuple(v for v in verdicts(audit) if v.attack.target == target)


def verdicts(audit: Audit) -> tuple[Verdict, ...]:
    """Return every verdict, by attack and then in the order of the targets."""
    rank, position = {a: i for i, a in enumerate(attacks(audit))}, order(audit)
    return tuple(
        sorted(audit.verdicts, key=lambda v: (rank[v.attack.on("")], position.get(v.attack.target, len(position))))
    )


def attacks(audit: Audit) -> tuple[AttackKey, ...]:
    """Return the attacks that verdicts exist for, on no target in particular, by question, attribute, access and
    fraction.
    """
    names, ways = attributes(audit), _ranked((v.attack.access for v in audit.verdicts), _ACCESS_ORDER)
    asked = tuple(QUESTIONS)
    return tuple(
        sorted(
            {v.attack.on("") for v in audit.verdicts},
            key=lambda a: (asked.index(a.question), names.index(a.attribute), ways.index(a.access), a.fraction),
        )
    )


def questions(audit: Audit) -> tuple[str, ...]:
    """Return the questions that the policy decided."""
    asked = {v.attack.question for v in audit.verdicts}
    return tuple(question for question in QUESTIONS if question in asked)


def on_held_out(audit: Audit, verdict: Verdict) -> float | None:
    """Return how strong an attack that is judged on members is on held-out scans; None if it is not judged on them."""
    if verdict.attack.scans == HELD_OUT:
        return None
    found = estimate(audit, replace(verdict.attack, scans=HELD_OUT), verdict.metric)
    return found.value if found is not None else None


def estimate(audit: Audit, attack: AttackKey, metric: str) -> MetricEstimate | None:
    """Return one metric of an attack; a baseline without a model is the same for every access."""
    for found in audit.metrics:
        if found.metric == metric and found.attack in (attack, replace(attack, access=NO_ACCESS)):
            return found
    return None


def drawn_together(audit: Audit, records: Iterable[Drawn], attribute: str, access: str) -> tuple[Drawn, ...]:
    """Return what is drawn of an attack: its records at the deciding fraction, then those of attackers without a model.

    Targets come before baselines. Empty where the attack itself has none.
    """
    fraction, position = decisive_fraction(audit, attribute), order(audit)
    found = [
        one
        for one in records
        if (one.attack.attribute, one.attack.fraction) == (attribute, fraction)
        and one.attack.access in (access, NO_ACCESS)
    ]
    if not any(one.attack.access == access for one in found):
        return ()
    return tuple(sorted(found, key=lambda one: position.get(one.attack.target, len(position))))


def utilities(audit: Audit) -> tuple[str, dict[str, float]]:
    """Return the name of the utility and each target's: AUC if every measured target has one, else accuracy."""
    measured = {s.name: s.utility for s in targets(audit) if s.utility is not None}
    aucs = {name: u.auc_ovr for name, u in measured.items() if u.auc_ovr is not None}
    if len(aucs) == len(measured):
        return "AUC", aucs
    return "accuracy", {name: u.accuracy for name, u in measured.items()}


def severity(found: Iterable[Verdict]) -> str:
    """Return the gravest of some verdicts, or an empty string if there are none."""
    words = {v.verdict for v in found}
    return next((word for word in (LEAK, INCONCLUSIVE, NO_LEAK) if word in words), "")
