"""Which target gives away most of an attribute, and how sure that is."""

from flprivacy.core.audit import Audit, ExcessEstimate
from flprivacy.reporting import words
from flprivacy.reporting.findings import Attack, accesses, decisive_fraction, decisive_metric, estimate, targets


def ranking_lines(audit: Audit) -> tuple[str, ...]:
    """Return a sentence an attribute: the targets by how strong the attack on them is, with paired differences.

    Attacks of the richest access that all targets share count (features before outputs), at the fraction that decides.
    Empty where there are fewer than two targets.
    """
    attributes = dict.fromkeys(c.attribute for c in audit.comparisons)
    return tuple(line for attribute in attributes if (line := _line(audit, attribute)))


def _line(audit: Audit, attribute: str) -> str:
    fraction, metric = decisive_fraction(audit, attribute), decisive_metric(audit, attribute)
    for access in accesses(audit, attribute) if fraction is not None else ():
        attack = Attack(attribute=attribute, access=access, fraction=fraction or 0.0)
        found = {t.name: estimate(audit, t.name, attack, metric) for t in targets(audit)}
        values = {name: one.value for name, one in found.items() if one is not None}
        if len(values) < 2 or len(values) < len(found):
            continue
        sign = 1.0 if metric == "mae_years" else -1.0
        first, *rest = sorted(values, key=lambda name: (sign * values[name], name))
        pairs = [_pair(audit, attack, metric, first, other) for other in rest]
        if all(pairs):
            behind = words.listed([_behind(pair) for pair in pairs if pair])
            name, best = words.attribute_name(attribute), words.number(values[first], metric)
            return f"Most of {name}, from {access}: {first} ({best}{words.unit(metric)}), ahead of {behind}."
    return ""


def _pair(audit: Audit, attack: Attack, metric: str, first: str, other: str) -> ExcessEstimate | None:
    for c in audit.comparisons:
        same = (c.attribute, c.access, c.fraction, c.metric) == (*_place(attack), metric)
        if same and {c.target, c.baseline} == {first, other}:
            return c
    return None


def _place(attack: Attack) -> tuple[str, str, float]:
    return attack.attribute, attack.access, attack.fraction


def _behind(pair: ExcessEstimate) -> str:
    bounds = words.interval(pair.ci_low, pair.ci_high, pair.metric)
    return f"{pair.baseline} by {words.number(pair.value, pair.metric)} {bounds}"
