"""What is worth knowing beside the verdicts: what training added over fresh weights, and who gives away most."""

from flprivacy.core.attributes import AttackKey, metric_of
from flprivacy.core.audit import LEAK, Audit, ExcessEstimate, Verdict
from flprivacy.reporting import findings, words

_WITHOUT_MODEL = ("pixels", "majority")


def learned_lines(audit: Audit) -> tuple[str, ...]:
    """Return a sentence a target whose attack clearly beats fresh weights but not an attacker without any model.

    Such a target is no leak for someone who holds the scans, and one for someone who is handed features or outputs
    alone.
    """
    found = {target.name: learned(audit, target.name) for target in findings.targets(audit)}
    return tuple(
        f"Training put into {name} what fresh weights do not reveal: {words.listed(parts)}. The scans' own pixels "
        "reveal as much or more, so this matters where features or outputs are shared without the scans."
        for name, parts in found.items()
        if parts
    )


def learned(audit: Audit, target: str) -> list[str]:
    """Return the attacks on a target that are no leak, but clearly beat fresh weights, with their excess over these."""
    parts = []
    for verdict in findings.decided(audit, target):
        least = min(_over_models(audit, verdict), key=lambda e: e.value, default=None)
        if verdict.verdict != LEAK and least is not None and least.ci_low > verdict.threshold:
            bounds = words.interval(least.ci_low, least.ci_high, least.metric)
            name = words.attack_name(verdict.attack.attribute, verdict.attack.access)
            parts.append(f"{name} {words.signed(least.value, least.metric)}{words.unit(least.metric)} {bounds}")
    return parts


def _over_models(audit: Audit, verdict: Verdict) -> list[ExcessEstimate]:
    """Return the excess over every baseline that is a model, such as fresh weights."""
    wanted = verdict.attack, verdict.metric
    return [e for e in audit.excesses if e.baseline not in _WITHOUT_MODEL and (e.attack, e.metric) == wanted]


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
