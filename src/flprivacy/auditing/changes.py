"""Changes: does a model give away more than the one that was audited before it?

What is claimed. ``changed for the worse`` says that some attack gets more out of the present model than the same
attack got out of the previous one, by more than chance explains. Three kinds of chance are allowed for: other patients
like the held-out ones, other attacker seeds, and chance in training: the same recipe, trained again, gives another
model that gives away more or less. Two models say as little about that spread as two numbers do, so it is estimated
from the audit's baseline of fresh weights: how far the attack's strength differs from one initialisation
of the same network to the next, 1/m times for a target of m models, on both sides. That is an approximation, for
training may widen or narrow that spread; tests/benchmarks/bench_change.py measures what it comes to.

Beside it stands the smaller question about these two models as they are, whatever made them differ: interval and
p-value without chance in training (``model_*``). The verdict does not rest on it, because any two trained models
differ, and enough patients will show it.

Errors over many attacks. p-values are Holm's (Scandinavian Journal of Statistics 1979) over every attack on every
target that one run compares, whatever their dependence. With confidence .95, a run in which nothing changed
calls any target worse with a probability of at most 2.5%, and better with as much.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from flprivacy.auditing.config import AuditConfig
from flprivacy.auditing.estimates import Measured, difference, measure
from flprivacy.auditing.runs import AttackRuns, collect_runs
from flprivacy.auditing.uncertainty import Initialisations, resample_patients
from flprivacy.core.attributes import METRICS
from flprivacy.core.change import BETTER, NO_CHANGE, WORSE, AttackChange
from flprivacy.core.errors import AuditError
from flprivacy.core.scores import ScoreTable

_BEFORE = " (before)"


def compare_with_before(
    target: str, now: Sequence[ScoreTable], before: Sequence[ScoreTable], *, config: AuditConfig
) -> list[AttackChange]:
    """Return the change of every attack on a target that the policy has a rule for, p-values not yet adjusted.

    Paired by held-out scan, and by attacker seed where both audits used the same seeds. An attack that only one of the
    two audits ran is passed over; the exposed fraction is the rule's, or the largest of both. ``now`` and ``before``
    are the score tables of the target and of the baselines.

    Raises:
        AuditError: another cohort, no table of the target, no fresh weights to estimate chance in training from, or no
            attack in common.
    """
    ours, fresh = _needed(target, now)
    earlier, earlier_fresh = _needed(target, before)
    same_draws = fresh.target_digest == earlier_fresh.target_digest
    tables = [ours, _renamed(earlier), fresh, *([] if same_draws else [_renamed(earlier_fresh)])]
    found = collect_runs(tables)
    changes = [
        change
        for attribute, of_attribute in found.items()
        if attribute in config.policy.rules
        for change in _of_attribute(target, of_attribute, config)
    ]
    if not changes:
        raise AuditError(f"{target}: the two audits have no attack in common; attack with the same accesses again")
    return changes


def adjusted(changes: Sequence[AttackChange]) -> list[AttackChange]:
    """Return the changes with Holm's p-values over all of them."""
    order = sorted(range(len(changes)), key=lambda i: changes[i].p_value)
    found, running = list(changes), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(changes) - rank) * changes[i].p_value))
        found[i] = replace(changes[i], p_adjusted=running)
    return found


def judge_change(changes: Sequence[AttackChange], *, confidence: float) -> tuple[str, str]:
    """Return the verdict on one target and its reason in a sentence.

    ``changed for the worse`` if any attack got significantly stronger, ``changed for the better`` if any got weaker
    and none stronger. The confidence is of all verdicts of the run together.
    """
    clear = [c for c in changes if c.p_adjusted < 1.0 - confidence]
    stronger, weaker = [c for c in clear if c.value > 0.0], [c for c in clear if c.value < 0.0]
    if stronger:
        reason = "; ".join(map(_evidence, _strongest_first(stronger)))
        return WORSE, f"{reason}; and less: {_listed(weaker)}" if weaker else reason
    if weaker:
        return BETTER, "; ".join(map(_evidence, _strongest_first(weaker)))
    of_models = [c for c in changes if len(changes) * c.model_p_value < 1.0 - confidence]
    if of_models:
        return NO_CHANGE, (
            f"these two models differ ({_listed(of_models)}), but by no more than two models of the same recipe may"
        )
    widest = max(changes, key=lambda c: (c.ci_high - c.ci_low) / METRICS[c.metric].scale)
    return NO_CHANGE, (
        f"none of {len(changes)} attacks differs by more than chance explains; the widest interval is "
        f"{_number(widest.ci_low, widest)} to {_number(widest.ci_high, widest)} "
        f"({widest.attack.attribute}, {widest.attack.access})"
    )


def _needed(target: str, tables: Sequence[ScoreTable]) -> tuple[ScoreTable, ScoreTable]:
    """Return the target's table, and that of the most initialisations of its architecture."""
    ours = next((table for table in tables if table.target == target), None)
    if ours is None:
        known = ", ".join(sorted(table.target for table in tables)) or "none"
        raise AuditError(f"{target}: an audit has no scores of it, only of {known}; audit it again")
    fresh = [table for table in tables if table.role == "baseline" and table.architecture == ours.architecture]
    most = max(fresh, key=_models, default=ours)
    if most is ours or _models(most) < 2:
        raise AuditError(
            f"{target}: no baseline of at least 2 initialisations of architecture {ours.architecture!r}, which shows "
            "how much models differ by chance; audit with an untrained target of it"
        )
    return ours, most


def _models(table: ScoreTable) -> int:
    return len({block.model for block in table.blocks})


def _renamed(table: ScoreTable) -> ScoreTable:
    name = f"{table.target}{_BEFORE}"
    blocks = tuple(replace(block, attack=block.attack.on(name)) for block in table.blocks)
    return replace(table, target=name, blocks=blocks)


def _of_attribute(target: str, runs: Sequence[AttackRuns], config: AuditConfig) -> list[AttackChange]:
    audited = {one.attack for one in runs}
    held_out = runs[0].held_out
    rule = config.policy.rules[held_out.attribute.name]
    resampling = resample_patients(held_out.patients, replicates=config.bootstrap, seed=config.seed)
    changes = []
    for access in dict.fromkeys(one.attack.access for one in runs if one.uses_model):
        both = sorted(
            attack.fraction
            for attack in audited
            if (attack.target, attack.access) == (target, access) and attack.on(f"{target}{_BEFORE}") in audited
        )
        wanted = both[-1:] if rule.fraction is None else [f for f in both if f == rule.fraction]
        for fraction in wanted:
            cell = [one for one in runs if (one.attack.access, one.attack.fraction) == (access, fraction)]
            measured = [measure(one, resampling) for one in cell]
            changes.append(_change(target, measured, rule.metric, config.confidence))
    return changes


def _change(target: str, cell: Sequence[Measured], metric: str, confidence: float) -> AttackChange:
    now = next(one for one in cell if one.runs.attack.target == target)
    before = next(one for one in cell if one.runs.attack.target == f"{target}{_BEFORE}")
    if metric not in now.values:
        raise AuditError(
            f"policy.rules.{now.runs.attack.attribute}.metric is {metric!r}, which this attack is not measured by; "
            f"choose from {', '.join(now.values)}"
        )
    highest = METRICS[metric].highest
    value, spread = difference(now, before, metric, _chance_in_training(now, before, cell, metric))
    _, of_models = difference(now, before, metric, ())
    low, high = spread.interval(value, confidence, low=-highest, high=highest)
    model_low, model_high = of_models.interval(value, confidence, low=-highest, high=highest)
    return AttackChange(
        attack=now.runs.attack,
        metric=metric,
        before=before.point(metric),
        now=now.point(metric),
        value=value,
        ci_low=low,
        ci_high=high,
        p_value=spread.p_value(value),
        p_adjusted=spread.p_value(value),
        model_ci_low=model_low,
        model_ci_high=model_high,
        model_p_value=of_models.p_value(value),
    )


def _chance_in_training(
    now: Measured, before: Measured, cell: Sequence[Measured], metric: str
) -> list[Initialisations]:
    """Return the spread of fresh weights on both sides: as one, if the same fresh weights stand for both."""
    fresh = [one for one in cell if one.initialisations(metric, 1.0)]
    shares = [1.0 / len(one.runs.models) for one in (now, before)]
    if len(fresh) == 1:
        shares = [sum(shares)]
    elif fresh[0].runs.attack.target.endswith(_BEFORE):
        fresh.reverse()
    return [found for one, share in zip(fresh, shares, strict=True) for found in one.initialisations(metric, share)]


def _strongest_first(changes: Iterable[AttackChange]) -> list[AttackChange]:
    return sorted(changes, key=lambda c: -abs(c.value) / METRICS[c.metric].scale)


def _evidence(change: AttackChange) -> str:
    unit = METRICS[change.metric].unit
    return (
        f"{change.attack.attribute} from {change.attack.access}: {change.metric} {_plain(change.before, change)} "
        f"before, {_plain(change.now, change)} now, {_number(change.value, change)}{unit and f' {unit}'} "
        f"({_number(change.ci_low, change)} to {_number(change.ci_high, change)}, adjusted p {change.p_adjusted:.2g})"
    )


def _listed(changes: Iterable[AttackChange]) -> str:
    return ", ".join(
        f"{c.attack.attribute} from {c.attack.access} {_number(c.value, c)}" for c in _strongest_first(changes)
    )


def _number(value: float, change: AttackChange) -> str:
    return f"{value:+.{METRICS[change.metric].decimals}f}"


def _plain(value: float, change: AttackChange) -> str:
    return _number(value, change).lstrip("+")
