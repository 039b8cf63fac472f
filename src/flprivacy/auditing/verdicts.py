"""Verdicts: which baselines a target is held against, and what the policy says of the excess.

In the pipeline a missing baseline is an error, because without it every number looks like a leak. For arrays
(:mod:`flprivacy.auditing.arrays`) it keeps a verdict from being ``leak``, and the reason says so.
"""

from collections.abc import Mapping, Sequence

from flprivacy.auditing.config import PolicyRule
from flprivacy.auditing.runs import AttackRuns
from flprivacy.core.attributes import METRICS, NO_ACCESS, Metric
from flprivacy.core.audit import HONEST_SEEDS, INCONCLUSIVE, LEAK, NO_LEAK, ExcessEstimate, MetricEstimate, Verdict
from flprivacy.core.errors import AuditError

WITHOUT_MODEL = {
    "pixels": "run the pixels-only attacker (step attack_baselines)",
    "majority": "run the majority guess (step attack_baselines)",
}


def baselines_of(target: AttackRuns, others: Sequence[AttackRuns]) -> list[AttackRuns]:
    """Return the baselines of a target's attack: same attribute and fraction, and the same access to the same
    architecture or no model at all.

    Raises:
        AuditError: no fresh weights attacked with the same access, only one initialisation of them, no pixels-only
            attacker, no majority guess, or one with other attacker seeds.
    """
    found = [
        runs
        for runs in others
        if runs.role == "baseline" and runs.attack.fraction == target.attack.fraction and _comparable(runs, target)
    ]
    _check_complete(target, found)
    for runs in found:
        if runs.seeds != target.seeds:
            raise AuditError(
                f"{target.attack}: attacker seeds {_list(target.seeds)}, but baseline {runs.attack.target!r} has "
                f"{_list(runs.seeds)}; attack both with the same seeds, for the comparison is paired by seed"
            )
    return found


def _comparable(baseline: AttackRuns, target: AttackRuns) -> bool:
    same = baseline.attack.access == target.attack.access and baseline.architecture == target.architecture
    return same or not baseline.uses_model


def _check_complete(target: AttackRuns, found: Sequence[AttackRuns]) -> None:
    fresh = [runs for runs in found if runs.attack.access == target.attack.access]
    if not fresh:
        raise AuditError(
            f"{target.attack}: no baseline with fresh weights of architecture {target.architecture!r} was "
            f"attacked; attack an untrained target of it with access {target.attack.access!r} at this fraction"
        )
    if max(len(runs.models) for runs in fresh) < 2:
        raise AuditError(
            f"{target.attack}: baseline {fresh[0].attack.target!r} has 1 model; fresh weights vary at random, so give "
            "an untrained target at least 2 initialisations (5 are better)"
        )
    names = {runs.attack.target for runs in found}
    for name, remedy in WITHOUT_MODEL.items():
        if name not in names:
            raise AuditError(f"{target.attack}: no baseline {name!r}; {remedy} at this fraction")


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def few_seeds(n_seeds: int) -> str:
    """Return the caveat on few attacker seeds; empty where there are enough."""
    if n_seeds >= HONEST_SEEDS:
        return ""
    return f"only {n_seeds} attacker seeds, fewer than {HONEST_SEEDS}, so the spread over attackers is poorly known"


def judge(
    metrics: Sequence[MetricEstimate],
    excesses: Sequence[ExcessEstimate],
    rules: Mapping[str, PolicyRule],
    *,
    note: str = "",
    missing: str = "",
) -> list[Verdict]:
    """Return one verdict per target, attacked attribute with a rule, and access, at the rule's exposed fraction.

    ``leak``: the lower end of the excess is above the threshold over *every* baseline. All of these one-sided tests
    must pass (an intersection-union test: Berger, Technometrics 1982), so looking at several baselines makes false
    alarms rarer, and picking the strongest one afterwards costs nothing.
    ``no leak found``: the upper end over the strongest baseline is below the threshold. It means that the attacks
    that were run gain less than the threshold, not that no attack can gain more.
    ``inconclusive``: anything else.

    An attribute without a rule gets no verdict. The ``note`` is appended to every reason. Where a baseline that could
    explain the excess is ``missing`` (in words), no verdict is ``leak``.

    Raises:
        AuditError: a rule for an exposed fraction that was not audited or a metric that was not measured.
    """
    verdicts = []
    for attribute in dict.fromkeys(e.attack.attribute for e in excesses):
        if attribute in rules:
            rule = rules[attribute]
            deciding = _deciding([e for e in excesses if e.attack.attribute == attribute], rule)
            for attack in dict.fromkeys(e.attack for e in deciding):
                over = [e for e in deciding if e.attack == attack]
                verdicts.append(_verdict(over, metrics, rule, note, missing))
    return verdicts


def _deciding(excesses: Sequence[ExcessEstimate], rule: PolicyRule) -> list[ExcessEstimate]:
    """Return the excesses of an attribute that its rule looks at."""
    attribute, fractions = excesses[0].attack.attribute, sorted({e.attack.fraction for e in excesses})
    measured = list(dict.fromkeys(e.metric for e in excesses))
    if rule.metric not in measured:
        raise AuditError(
            f"policy.rules.{attribute}.metric is {rule.metric!r}, which this attack is not measured by; "
            f"choose from {', '.join(measured)}"
        )
    fraction = fractions[-1] if rule.fraction is None else rule.fraction
    found = [e for e in excesses if e.metric == rule.metric and e.attack.fraction == fraction]
    audited = {(e.attack.target, e.attack.access) for e in excesses}
    if {(e.attack.target, e.attack.access) for e in found} != audited:
        raise AuditError(
            f"policy.rules.{attribute}.fraction is {fraction:g}, which was not audited for every target and access; "
            f"audited are {', '.join(f'{f:g}' for f in fractions)}: attack with it or change the rule"
        )
    return found


def _verdict(
    over: Sequence[ExcessEstimate], metrics: Sequence[MetricEstimate], rule: PolicyRule, note: str, missing: str
) -> Verdict:
    best = next(e for e in over if e.best_baseline)
    verdict, reason = _decide(over, best, rule, missing)
    attacked = _find(metrics, best, best.attack.target, (best.attack.access,))
    baseline = _find(metrics, best, best.baseline, (best.attack.access, NO_ACCESS))
    return Verdict(
        attack=best.attack,
        metric=best.metric,
        value=attacked.value,
        value_ci_low=attacked.ci_low,
        value_ci_high=attacked.ci_high,
        baseline=best.baseline,
        baseline_value=baseline.value,
        excess=best.value,
        ci_low=best.ci_low,
        ci_high=best.ci_high,
        p_value=best.p_value,
        threshold=rule.threshold,
        verdict=verdict,
        reason=f"{reason}; {note}" if note else reason,
    )


def _find(
    metrics: Sequence[MetricEstimate], like: ExcessEstimate, target: str, accesses: tuple[str, ...]
) -> MetricEstimate:
    wanted = {(target, like.attack.attribute, access, like.attack.fraction) for access in accesses}
    return next(
        m
        for m in metrics
        if m.metric == like.metric
        and (m.attack.target, m.attack.attribute, m.attack.access, m.attack.fraction) in wanted
    )


def _decide(over: Sequence[ExcessEstimate], best: ExcessEstimate, rule: PolicyRule, missing: str) -> tuple[str, str]:
    """Return the verdict and its reason in plain words."""
    metric = METRICS[rule.metric]
    limit = f"the threshold {_number(rule.threshold, rule.threshold, metric)}"
    worst = min(over, key=lambda e: e.ci_low)
    low, high = (_number(end, rule.threshold, metric, signed=True) for end in (best.ci_low, best.ci_high))
    strongest = f"the best baseline ({best.baseline})"
    if worst.ci_low > rule.threshold and missing:
        return INCONCLUSIVE, f"lower end {low} over {strongest} is above {limit}, but {missing}"
    if worst.ci_low > rule.threshold:
        return LEAK, f"lower end {low} over {strongest} is above {limit}, and so it is over every other baseline"
    if best.ci_high < rule.threshold:
        return NO_LEAK, f"upper end {high} over {strongest} is below {limit}"
    if best.ci_low > rule.threshold:
        other = _number(worst.ci_low, rule.threshold, metric, signed=True)
        return INCONCLUSIVE, (
            f"lower end {low} over {strongest} is above {limit}, but over {worst.baseline} it is only {other}"
        )
    return INCONCLUSIVE, f"interval {low} to {high} over {strongest} contains {limit}"


def _number(value: float, threshold: float, metric: Metric, *, signed: bool = False) -> str:
    """Write a number so that it does not look equal to the threshold unless it is."""
    digits = metric.decimals
    while digits < 6 and value != threshold and f"{value:.{digits}f}" == f"{threshold:.{digits}f}":
        digits += 1
    text = f"{value:+.{digits}f}" if signed else f"{value:g}"
    if metric.unit:
        return f"{text} {metric.unit}"
    return text.replace("0.", ".", 1) if text.lstrip("+-").startswith("0.") else text
