"""The report's tables as plain records, so that the page's templates only lay them out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from flprivacy.core.attributes import NO_ACCESS, SITE, AttackKey, attribute_of
from flprivacy.core.audit import NO_LEAK, Audit, Look, MetricEstimate, Verdict
from flprivacy.core.vocabulary import HOLDING, JOINT, MEMORISED, TOGETHER, TRAINING
from flprivacy.reporting import findings, membership, words


@dataclass(frozen=True, kw_only=True)
class GlanceRow:
    """One target, question and way of access: its verdict for each attribute, None where there is none."""

    target: str
    question: str
    access: str
    verdicts: tuple[Verdict | None, ...]


@dataclass(frozen=True, kw_only=True)
class ModelsTable:
    """The models of one target that holds several: their names, and every attack on them."""

    target: str
    models: tuple[str, ...]
    spreads: tuple[MetricEstimate, ...]


def attack_tables(audit: Audit) -> tuple[tuple[Verdict, ...], ...]:
    """Return the verdicts of each attack, target by target."""
    rows = findings.verdicts(audit)
    return tuple(tuple(v for v in rows if v.attack.on("") == attack) for attack in findings.attacks(audit))


def telling(verdict: Verdict) -> tuple[Look, ...]:
    """Return what a verdict rests on beside the metric that it is shown in: empty where that one explains it."""
    if not verdict.looks or verdict.looks[0].verdict == verdict.verdict:
        return ()
    return tuple(look for look in verdict.looks[1:] if look.verdict == verdict.verdict)


def judged_attributes(audit: Audit) -> tuple[str, ...]:
    """Return the attributes that the policy decided about."""
    judged = {v.attack.attribute for v in audit.verdicts}
    return tuple(a for a in findings.attributes(audit) if a in judged)


def glance(audit: Audit) -> tuple[GlanceRow, ...]:
    """Return the verdicts as a matrix: a row per question, target and access, a column per judged attribute.

    Where an attribute was judged at several exposed fractions, the largest counts.
    """
    columns = judged_attributes(audit)
    by_fraction = sorted(audit.verdicts, key=lambda v: v.attack.fraction)
    found = {(v.attack.question, v.attack.target, v.attack.access, v.attack.attribute): v for v in by_fraction}
    ways = dict.fromkeys(way for attribute in columns for way in findings.accesses(audit, attribute))
    rows = []
    for names in product(findings.questions(audit), [target.name for target in findings.targets(audit)], ways):
        cells = tuple(found.get((*names, attribute)) for attribute in columns)
        if any(cells):
            rows.append(GlanceRow(question=names[0], target=names[1], access=names[2], verdicts=cells))
    return tuple(rows)


Cell = tuple[str, tuple[str, ...]]
"""A verdict (empty: not asked) and the attributes that it is about (none: who was trained on)."""


@dataclass(frozen=True, kw_only=True)
class HandoverRow:
    """One target: the gravest verdict on handing it to each kind of recipient, and what these would learn."""

    target: str
    of_anybody: tuple[Cell, ...]  # a cell for each of :func:`of_anybody`
    cells: tuple[Cell, ...]  # one for each of :func:`recipients`
    allowed: tuple[str, ...] = ()  # recipients that nothing speaks against, whatever else they may ask


_ANSWERS = frozenset({(TRAINING, "outputs"), (TRAINING, TOGETHER)})
_WEIGHTS = frozenset({(TRAINING, "features"), (TRAINING, "finetune")})


def recipients(audit: Audit) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return who may be given a target -> the (question, access) that are about them; only those that were asked.

    Whoever has the weights can compute the answers, so what these tell is told to them, too.
    """
    asked = {(v.attack.question, v.attack.access) for v in audit.verdicts}
    found = {
        who: tuple(pair for pair in sorted(asked) if pair in pairs)
        for who, pairs in (
            ("sees its answers, not the patient's scan", _ANSWERS),
            ("gets its weights or features, not the scan", _WEIGHTS | _ANSWERS if asked & _WEIGHTS else frozenset()),
            ("holds the patient's scan and gets the model", frozenset({(HOLDING, JOINT)})),
        )
    }
    return {who: pairs for who, pairs in found.items() if pairs}


def of_anybody(audit: Audit) -> tuple[str, ...]:
    """Return what whoever is given a target may find of those that it was trained on: the questions that were asked."""
    secrets = list(dict.fromkeys(attribute_of(v.attack.attribute).known_as for v in _memorised(audit)))
    return (
        *(["can tell who was trained on"] if membership.verdicts(audit) else []),
        *([f"learns {words.listed(secrets, 'or')} of training patients"] if secrets else []),
    )


def _memorised(audit: Audit, target: str | None = None) -> list[Verdict]:
    found = findings.verdicts(audit) if target is None else findings.decided(audit, target)
    return [v for v in found if v.attack.question == MEMORISED]


def handover(audit: Audit) -> tuple[HandoverRow, ...]:
    """Return the verdicts by who would be given the target, a row per target.

    Whoever is given a target may also ask who it was trained on and what it remembers of them, so nobody is allowed
    to have it unless these find nothing either, nor that hospitals are told that took part.
    """
    rows, of_members, of_sites = [], membership.verdicts(audit), membership.gives_away_sites(audit)
    memorised = bool(_memorised(audit))
    for target in findings.targets(audit):
        decided = findings.decided(audit, target.name)
        anybody: list[Cell] = [(of_members.get(target.name, ""), ())] * bool(of_members)
        anybody += [_cell(_memorised(audit, target.name))] * memorised
        cells = [
            _cell([v for v in decided if (v.attack.question, v.attack.access) in pairs])
            for pairs in recipients(audit).values()
        ]
        barred = target.name in of_sites or any(verdict not in ("", NO_LEAK) for verdict, _ in anybody)
        clear = [who for who, (verdict, _) in zip(recipients(audit), cells, strict=True) if verdict == NO_LEAK]
        rows.append(
            HandoverRow(
                target=target.name,
                of_anybody=tuple(anybody),
                cells=tuple(cells),
                allowed=() if barred else tuple(clear),
            )
        )
    return tuple(rows)


def _cell(about: Sequence[Verdict]) -> Cell:
    worst = findings.severity(about)
    return worst, tuple(dict.fromkeys(v.attack.attribute for v in about if v.verdict == worst))


def attacked_attributes(audit: Audit) -> tuple[str, ...]:
    """Return the attributes that metrics exist for."""
    measured = {m.attack.attribute for m in audit.metrics}
    return tuple(a for a in findings.attributes(audit) if a in measured)


def strengths(audit: Audit, name: str, attribute: str) -> tuple[MetricEstimate, ...]:
    """Return how strong the attacks on a baseline are, one for each access, at the deciding fraction and metric."""
    ways = (*findings.accesses(audit, attribute), NO_ACCESS)
    fraction, metric = findings.decisive_fraction(audit, attribute) or 0.0, findings.decisive_metric(audit, attribute)
    wanted = [AttackKey(target=name, attribute=attribute, access=way, fraction=fraction) for way in ways]
    found = [m for m in audit.metrics if m.attack in wanted and m.metric == metric]
    return tuple(sorted(found, key=lambda m: ways.index(m.attack.access)))


def range_of(values: Mapping[str, float]) -> str:
    """Return numbers as one number where they round alike, else as lowest and highest; empty where there are none."""
    shown = list(dict.fromkeys(f"{value:.3g}" for value in sorted(values.values())))
    return shown[0] if len(shown) == 1 else f"{shown[0]} to {shown[-1]}" if shown else ""


def models_tables(audit: Audit) -> tuple[ModelsTable, ...]:
    """Return the models of every target that holds several, targets before baselines, at the deciding fraction."""
    found = []
    for target in findings.order(audit):
        estimates = [
            one
            for attribute in findings.attributes(audit)
            for access in findings.accesses(audit, attribute)
            if (one := _decisive_estimate(audit, target, attribute, access)) is not None and len(one.per_model) > 1
        ]
        if estimates:
            models = tuple(dict.fromkeys(name for one in estimates for name in one.per_model))
            found.append(ModelsTable(target=target, models=models, spreads=tuple(estimates)))
    return tuple(found)


def _decisive_estimate(audit: Audit, target: str, attribute: str, access: str) -> MetricEstimate | None:
    fraction = findings.decisive_fraction(audit, attribute)
    if fraction is None:
        return None
    attack = AttackKey(target=target, attribute=attribute, access=access, fraction=fraction)
    return findings.estimate(audit, attack, findings.decisive_metric(audit, attribute))


def site_names(audit: Audit) -> dict[str, str]:
    """Return model name -> hospital, for siloed models (``site-03`` is the fourth site) whose hospital is known."""
    classes = next((c.class_names for c in audit.confusions if c.attack.attribute == SITE.name), ())
    names = {f"site-{i:02d}": name for i, name in enumerate(classes)}
    return {model: name for model, name in names.items() if model != name}
