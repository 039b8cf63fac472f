"""Changes: does a model give away more than the one that was audited before it?

What is claimed. ``changed for the worse`` says that some attack gets more out of the present model than the same
attack got out of the previous one, by more than chance explains. Three kinds of chance are allowed for: other patients
like the held-out ones, other attacker seeds, and chance in training: the same recipe, trained again, gives another
model that gives away more or less (:mod:`flprivacy.auditing.retraining`: from fresh weights, with room for training
that scatters up to three times as wide). What the comparison could have seen is told beside it: the smallest change
that would have been found with 80% power. Where that is above what the policy tolerates, ``no evidence of change``
would say nothing, and the verdict is ``too little power to tell``.

Beside it stands the smaller question about these two models as they are, whatever made them differ: interval and
p-value without chance in training (``model_*``). The verdict does not rest on it, because any two trained models
differ, and enough patients will show it.

Errors over many attacks. p-values are Holm's (Scandinavian Journal of Statistics 1979) over every attack on every
target that one run compares, whatever their dependence. With confidence .95, a run in which nothing changed
calls any target worse with a probability of at most 2.5%, and better with as much.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from scipy import special

from flprivacy.auditing.config import AuditConfig, PolicyRule
from flprivacy.auditing.estimates import difference
from flprivacy.auditing.measures import Measured, measure
from flprivacy.auditing.multiplicity import holm
from flprivacy.auditing.retraining import Fresh, chance_in_training, least_variance, slope, stabilised
from flprivacy.auditing.runs import AttackRuns, collect_runs
from flprivacy.auditing.uncertainty import resample_patients
from flprivacy.core.attributes import metric_of
from flprivacy.core.change import (
    BETTER,
    NO_CHANGE,
    TOO_LITTLE_POWER,
    WORSE,
    AttackChange,
    Change,
    MembershipChange,
)
from flprivacy.core.errors import AuditError
from flprivacy.core.membership import AUC, LEAST_REFERENCES, TPR
from flprivacy.core.scores import ScoreTable
from flprivacy.core.vocabulary import QUESTIONS

C = TypeVar("C", bound=Change)
_POWER = 0.8  # with which a change of the size that is called detectable is found
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
    pairs = [
        pair
        for attribute, of_attribute in found.items()
        if attribute in config.policy.rules
        for pair in _pairs(target, of_attribute, config)
    ]
    if not pairs:
        raise AuditError(f"{target}: the two audits have no attack in common; attack with the same accesses again")
    return [_change(pair, pairs, config.confidence) for pair in pairs]


def adjusted(changes: Sequence[C], *, confidence: float = 0.95) -> list[C]:
    """Return the changes with Holm's p-values over all of them, and with what could have been found among so many."""
    p_values = holm([change.p_value for change in changes])
    return [
        replace(change, p_adjusted=p, detectable=_detectable(change, len(changes), confidence))
        for change, p in zip(changes, p_values, strict=True)
    ]


def judge_change(changes: Sequence[Change], *, confidence: float) -> tuple[str, str]:
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
    unseen = [c for c in changes if c.detectable is not None and c.tolerated is not None and c.detectable > c.tolerated]
    of_models = [c for c in changes if len(changes) * c.model_p_value < 1.0 - confidence]
    if of_models:
        found = f"these two models differ ({_listed(of_models)}), but by no more than two models of the same recipe may"
    else:
        found = f"none of {len(changes)} attacks differs by more than chance explains"
    if not unseen:
        return NO_CHANGE, f"{found}, and a change above what the policy tolerates would have been seen"
    worst = max(unseen, key=lambda c: (c.detectable or 0.0) / (c.tolerated or 1e-9))
    return TOO_LITTLE_POWER, (
        f"{found}; but {worst.what} would have had to change by {_plain(worst.detectable or 0.0, worst)}{_unit(worst)} "
        f"to be noticed, and the policy tolerates {_tolerated(worst)}; {_remedy(worst)} make smaller changes visible"
    )


def _tolerated(change: Change) -> str:
    return f"{change.tolerated:g}{_unit(change) or f' in {_measure(change)}'}"


def _measure(change: Change) -> str:
    if isinstance(change, MembershipChange):
        return "AUC" if change.metric == AUC else f"TPR at FPR {change.metric.removeprefix(TPR)}"
    return metric_of(change.metric).title


def _remedy(change: Change) -> str:
    if isinstance(change, MembershipChange):
        return f"more held-out patients or {LEAST_REFERENCES} references and more"
    return "more held-out patients, more initialisations of the untrained baseline or more seeds"


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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pair:
    """One attack on the present and the previous models, and on fresh weights."""

    now: Measured
    before: Measured
    fresh: tuple[Measured, ...]
    rule: PolicyRule


def _pairs(target: str, runs: Sequence[AttackRuns], config: AuditConfig) -> list[_Pair]:
    """Return what is compared on one attribute, access by access, at the deciding fraction."""
    audited = {one.attack for one in runs}
    held_out = runs[0].held_out
    rule = config.policy.rules[held_out.attribute.name]
    resampling = resample_patients(held_out.patients, replicates=config.bootstrap, seed=config.seed)
    pairs = []
    ways = {one.attack.access: one.attack.question for one in runs if one.uses_model}
    for access in (way for way, question in ways.items() if question in rule.asked()):
        both = sorted(
            attack.fraction
            for attack in audited
            if (attack.target, attack.access) == (target, access) and attack.on(f"{target}{_BEFORE}") in audited
        )
        wanted = both[-1:] if rule.fraction is None else [f for f in both if f == rule.fraction]
        for fraction in wanted:
            cell = [one for one in runs if (one.attack.access, one.attack.fraction) == (access, fraction)]
            measured = {one.attack.target: measure(one, resampling) for one in cell}
            now, before = measured.pop(target), measured.pop(f"{target}{_BEFORE}")
            if rule.metric not in now.values:
                raise AuditError(
                    f"policy.rules.{now.runs.attack.attribute}.metric is {rule.metric!r}, which this attack is not "
                    f"measured by; choose from {', '.join(name for name in now.values if name not in now.classes)}"
                )
            fresh = tuple(one for one in measured.values() if one.drawn)
            pairs.append(_Pair(now=now, before=before, fresh=fresh, rule=rule))
    return pairs


def _change(pair: _Pair, pairs: Sequence[_Pair], confidence: float) -> AttackChange:
    now, before, metric = pair.now, pair.before, pair.rule.metric
    fresh: dict[tuple[str, str], list[Fresh]] = {}
    for other in pairs:
        for one in other.fresh:
            fresh.setdefault((one.runs.attack.attribute, one.runs.attack.target), []).append((one, other.rule.metric))
    moved, spread = difference(
        stabilised(now, metric),
        stabilised(before, metric),
        metric,
        known=[chance_in_training(fresh, now, before)],
        floor=least_variance(now, metric),
    )
    value, of_models = difference(now, before, metric)
    highest, scale = metric_of(metric).highest, slope(before, now, metric, moved)
    low, high = (scale * end for end in spread.interval(moved, confidence, low=-math.inf, high=math.inf))
    model_low, model_high = of_models.interval(value, confidence, low=-highest, high=highest)
    return AttackChange(
        attack=now.runs.attack,
        metric=metric,
        before=before.point(metric),
        now=now.point(metric),
        value=value,
        ci_low=max(low, -highest),
        ci_high=min(high, highest),
        p_value=spread.p_value(moved),
        p_adjusted=spread.p_value(moved),
        model_ci_low=model_low,
        model_ci_high=model_high,
        model_p_value=of_models.p_value(value),
        standard_error=scale * spread.standard_error,
        degrees=spread.degrees,
        tolerated=pair.rule.asked()[now.runs.attack.question],
        question=now.runs.attack.question,
    )


def _detectable(change: Change, n_compared: int, confidence: float) -> float | None:
    """Return the smallest true change that is found with 80% power as one of so many that are compared."""
    if change.standard_error is None or change.degrees is None:
        return None
    least_p = (1.0 - confidence) / n_compared
    reach = special.stdtrit(change.degrees, 1.0 - least_p / 2.0) + special.stdtrit(change.degrees, _POWER)
    return min(float(reach) * change.standard_error, metric_of(change.metric).highest)


def _strongest_first(changes: Iterable[Change]) -> list[Change]:
    return sorted(changes, key=lambda c: -abs(c.value) / metric_of(c.metric).scale)


def _evidence(change: Change) -> str:
    if isinstance(change, MembershipChange):
        asked = "paired by scan" if change.paired else "from the intervals of both audits"
    else:
        asked = QUESTIONS[change.attack.question]
    return (
        f"{change.what} ({asked}): {_measure(change)} {_plain(change.before, change)} before, "
        f"{_plain(change.now, change)} now, {_number(change.value, change)}{_unit(change)} "
        f"({_number(change.ci_low, change)} to {_number(change.ci_high, change)}, adjusted p {change.p_adjusted:.2g})"
    )


def _unit(change: Change) -> str:
    unit = metric_of(change.metric).unit
    return f" {unit}" if unit else ""


def _listed(changes: Iterable[Change]) -> str:
    return ", ".join(f"{c.what} {_number(c.value, c)}" for c in _strongest_first(changes))


def _number(value: float, change: Change) -> str:
    return f"{value:+.{metric_of(change.metric).decimals}f}"


def _plain(value: float, change: Change) -> str:
    return _number(value, change).lstrip("+")
