"""What is worth knowing beside the verdicts: what is unsure or was not asked, and which target gives away most."""

from flprivacy.core.attributes import AttackKey, attribute_of, metric_of
from flprivacy.core.audit import NO_LEAK, Audit, ExcessEstimate
from flprivacy.core.vocabulary import QUESTIONS
from flprivacy.reporting import findings, words

_CLOSE = 0.3  # Cramer's V from which on two attributes are said to hang together


def not_asked(audit: Audit) -> str:
    """Return what no verdict of the audit is about; empty if every question was asked."""
    if audit.verdicts and not any(v.question for v in audit.verdicts):
        return (
            "This audit was made before its questions were told apart: attacks without the scan were held against its "
            "pixels, too, so what leaks to whoever has no scan may be missing here. Audit again."
        )
    missing = [meaning for question, meaning in QUESTIONS.items() if question not in findings.questions(audit)]
    return f"Not asked, so not answered: {words.listed(missing)}." if missing and audit.verdicts else ""


def unsure(audit: Audit) -> list[str]:
    """Return a sentence for each doubt about targets, and one for those of which the owner's word alone is known."""
    doubted: dict[str, list[str]] = {}
    for target in findings.targets(audit):
        if target.doubt:
            doubted.setdefault(target.doubt, []).append(target.name)
    lines = [f"In doubt: {words.listed(names)}, for {doubt}." for doubt, names in doubted.items()]
    unconfirmed = [target.name for target in findings.targets(audit) if target.unconfirmed]
    if unconfirmed:
        were = "was" if len(unconfirmed) == 1 else "were"
        lines.append(
            f"Not confirmed: what {words.listed(unconfirmed)} {were} shown rests on the owner's word, and a network "
            "that sees other values than in training looks harmless."
        )
    return lines


def told_together(audit: Audit) -> list[str]:
    """Return a sentence for each pair of attributes that hang together, where one of them was not cleared."""
    open_ = {v.attack.attribute for v in audit.verdicts if v.verdict != NO_LEAK}
    return [
        f"Among these patients, {attribute_of(one).known_as} and {attribute_of(other).known_as} hang together "
        f"(Cramer's V {value:.2f}, where 1 is entirely): whoever learns one of them learns much of the other, so what "
        "gives away one shows as a leak of both."
        for one, others in audit.associations.items()
        for other, value in others.items()
        if value >= _CLOSE and open_ & {one, other}
    ]


def ranking_lines(audit: Audit) -> tuple[str, ...]:
    """Return a sentence an attribute: the targets by how strong the attack on them is, with paired differences.

    Attacks of the richest access that all targets share count (features before outputs), at the fraction that decides.
    Empty where there are fewer than two targets.
    """
    names = dict.fromkeys(c.attack.attribute for c in audit.comparisons)
    return tuple(line for attribute in names if (line := _ranking(audit, attribute)))


def _ranking(audit: Audit, attribute: str) -> str:
    fraction, metric = findings.decisive_fraction(audit, attribute), findings.decisive_metric(audit, attribute)
    for access in findings.accesses(audit, attribute) if fraction is not None else ():
        attack = AttackKey(target="", attribute=attribute, access=access, fraction=fraction or 0.0)
        found = {t.name: findings.estimate(audit, attack.on(t.name), metric) for t in findings.targets(audit)}
        values = {name: one.value for name, one in found.items() if one is not None}
        if len(values) < 2 or len(values) < len(found):
            continue
        sign = metric_of(metric).sign
        first, *rest = sorted(values, key=lambda name: (-sign * values[name], name))
        pairs = [_pair(audit, attack, metric, first, other) for other in rest]
        if all(pairs):
            behind = words.listed([_behind(pair) for pair in pairs if pair])
            name, best = words.attack_name(attribute, access), words.number(values[first], metric)
            without = _without_training(audit, attack.on(first))
            return f"Most exposed, {name}: {first} ({best}{words.unit(metric)}{without}), ahead of {behind}."
    return ""


def _without_training(audit: Audit, attack: AttackKey) -> str:
    """Return what the strongest baseline reaches, for whoever reads one number only."""
    for v in audit.verdicts:
        if v.attack == attack:
            reached = f"{words.number(v.baseline_value, v.metric)}{words.unit(v.metric)}"
            return f"; without its training, {v.baseline} {'alone ' if v.baseline == 'pixels' else ''}reaches {reached}"
    return ""


def _pair(audit: Audit, attack: AttackKey, metric: str, first: str, other: str) -> ExcessEstimate | None:
    for c in audit.comparisons:
        same = (c.attack.on(""), c.metric) == (attack, metric)
        if same and {c.attack.target, c.baseline} == {first, other}:
            return c
    return None


def _behind(pair: ExcessEstimate) -> str:
    bounds = words.interval(pair.ci_low, pair.ci_high, pair.metric)
    return f"{pair.baseline} by {words.number(pair.value, pair.metric)} {bounds}"
