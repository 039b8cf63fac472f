"""Verdicts: the policy's word on every target and attack."""

from collections.abc import Sequence

from flprivacy.auditing.config import Policy, PolicyRule
from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK, ExcessEstimate, MetricEstimate, Verdict
from flprivacy.core.errors import AuditError


def judge(
    metrics: Sequence[MetricEstimate], excesses: Sequence[ExcessEstimate], policy: Policy, *, note: str = ""
) -> list[Verdict]:
    """Return one verdict per target, attacked attribute with a rule, and access, at the rule's exposed fraction.

    ``leak``: the lower end of the excess is above the threshold over *every* baseline. All of these one-sided tests
    must pass (an intersection-union test: Berger, Technometrics 1982), so looking at several baselines makes false
    alarms rarer, and picking the strongest one afterwards costs nothing.
    ``no leak found``: the upper end over the strongest baseline is below the threshold. It means that the attacks
    that were run gain less than the threshold, not that no attack can gain more.
    ``inconclusive``: anything else.

    Args:
        metrics: of targets and baselines.
        excesses: of targets over baselines.
        policy: rule of each attribute; an attribute without a rule, or that was not attacked, gets no verdict.
        note: appended to every reason.

    Raises:
        AuditError: a rule for an exposed fraction that was not audited or a metric that was not measured.
    """
    verdicts = []
    for attribute in dict.fromkeys(e.attribute for e in excesses):
        if attribute in policy.rules:
            rule = policy.rules[attribute]
            deciding = _deciding([e for e in excesses if e.attribute == attribute], rule)
            for target, access in dict.fromkeys((e.target, e.access) for e in deciding):
                over = [e for e in deciding if (e.target, e.access) == (target, access)]
                verdicts.append(_verdict(over, metrics, rule, note))
    return verdicts


def _deciding(excesses: Sequence[ExcessEstimate], rule: PolicyRule) -> list[ExcessEstimate]:
    """Return the excesses of an attribute that its rule looks at."""
    attribute, fractions = excesses[0].attribute, sorted({e.fraction for e in excesses})
    measured = list(dict.fromkeys(e.metric for e in excesses))
    if rule.metric not in measured:
        raise AuditError(
            f"policy.rules.{attribute}.metric is {rule.metric!r}, which this attack is not measured by; "
            f"choose from {', '.join(measured)}"
        )
    fraction = fractions[-1] if rule.fraction is None else rule.fraction
    found = [e for e in excesses if e.metric == rule.metric and e.fraction == fraction]
    audited = {(e.target, e.access) for e in excesses}
    if {(e.target, e.access) for e in found} != audited:
        raise AuditError(
            f"policy.rules.{attribute}.fraction is {fraction:g}, which was not audited for every target and access; "
            f"audited are {', '.join(f'{f:g}' for f in fractions)}: attack with it or change the rule"
        )
    return found


def _verdict(over: Sequence[ExcessEstimate], metrics: Sequence[MetricEstimate], rule: PolicyRule, note: str) -> Verdict:
    best = next(e for e in over if e.best_baseline)
    verdict, reason = _decide(over, best, rule)
    attacked = _find(metrics, best, best.target, (best.access,))
    baseline = _find(metrics, best, best.baseline, (best.access, "none"))
    return Verdict(
        target=best.target,
        attribute=best.attribute,
        access=best.access,
        fraction=best.fraction,
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
    return next(
        m
        for m in metrics
        if m.target == target
        and m.access in accesses
        and (m.attribute, m.fraction, m.metric) == (like.attribute, like.fraction, like.metric)
    )


def _decide(over: Sequence[ExcessEstimate], best: ExcessEstimate, rule: PolicyRule) -> tuple[str, str]:
    """Return the verdict and its reason in plain words."""
    limit = f"the threshold {_number(rule.threshold, rule)}"
    worst = min(over, key=lambda e: e.ci_low)
    low, high = (_number(end, rule, signed=True) for end in (best.ci_low, best.ci_high))
    strongest = f"the best baseline ({best.baseline})"
    if worst.ci_low > rule.threshold:
        return LEAK, f"lower end {low} over {strongest} is above {limit}, and so it is over every other baseline"
    if best.ci_high < rule.threshold:
        return NO_LEAK, f"upper end {high} over {strongest} is below {limit}"
    if best.ci_low > rule.threshold:
        other = _number(worst.ci_low, rule, signed=True)
        return INCONCLUSIVE, (
            f"lower end {low} over {strongest} is above {limit}, but over {worst.baseline} it is only {other}"
        )
    return INCONCLUSIVE, f"interval {low} to {high} over {strongest} contains {limit}"


def _number(value: float, rule: PolicyRule, *, signed: bool = False) -> str:
    """Write a number so that it does not look equal to the threshold unless it is."""
    digits = 2 if rule.metric == "mae_years" else 3
    while digits < 6 and value != rule.threshold and f"{value:.{digits}f}" == f"{rule.threshold:.{digits}f}":
        digits += 1
    text = f"{value:+.{digits}f}" if signed else f"{value:g}"
    if rule.metric == "mae_years":
        return f"{text} years"
    return text.replace("0.", ".", 1) if text.lstrip("+-").startswith("0.") else text
