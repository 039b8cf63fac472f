"""Verdicts: what the policy says of the excess, in every metric that it looks at, over a whole audit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy import special

from flprivacy.auditing.config import PolicyRule
from flprivacy.auditing.multiplicity import holm, step_down
from flprivacy.auditing.uncertainty import Composed
from flprivacy.core.attributes import NO_ACCESS, ONE_CLASS, AttackKey, Metric, attribute_of, metric_of
from flprivacy.core.audit import (
    HONEST_SEEDS,
    INCONCLUSIVE,
    LEAK,
    NO_LEAK,
    ExcessEstimate,
    Look,
    MetricEstimate,
    Verdict,
)
from flprivacy.core.errors import AuditError
from flprivacy.core.vocabulary import QUESTIONS


def few_seeds(n_seeds: int) -> str:
    """Return the caveat on few attacker seeds; empty where there are enough."""
    if n_seeds >= HONEST_SEEDS:
        return ""
    return (
        f"only {n_seeds} attacker seeds, fewer than {HONEST_SEEDS}, so the spread over attackers is poorly known and "
        "intervals are wide"
    )


@dataclass(frozen=True, kw_only=True)
class _Test:
    """One metric of one attack: the excess over every baseline, and what is tolerated."""

    over: tuple[ExcessEstimate, ...]
    threshold: float

    @property
    def best(self) -> ExcessEstimate:
        return next(e for e in self.over if e.best_baseline)

    @property
    def clears(self) -> bool:
        """Whether the verdict waits for this metric; a single class may raise a leak, and never clears a target."""
        return not self.best.of_class

    @property
    def p_leak(self) -> float:
        """One-sided p-value of an excess that is no larger than the threshold over some baseline."""
        return _p_above(self.decisive, self.threshold)

    @property
    def decisive(self) -> ExcessEstimate:
        """The excess over the baseline that speaks most against a leak."""
        return max(self.over, key=lambda e: _p_above(e, self.threshold))


def judge(
    metrics: Sequence[MetricEstimate],
    excesses: Sequence[ExcessEstimate],
    rules: Mapping[str, PolicyRule],
    *,
    confidence: float = 0.95,
    note: str = "",
    missing: Mapping[AttackKey, str] | None = None,
    spreads: Mapping[ExcessEstimate, Composed] | None = None,
) -> list[Verdict]:
    """Return one verdict per target, attacked attribute with a rule, question that it asks, and access, at the rule's
    exposed fraction.

    Each looks at several metrics: the rule's, and those that see rare classes.

    ``leak``: in some metric the excess is above the threshold over *every* baseline. All of these one-sided tests must
    pass (an intersection-union test: Berger, Technometrics 1982), so picking the strongest baseline afterwards costs
    nothing; and the largest of their p-values stays below 1 - confidence when it is adjusted for all metrics of all
    verdicts. With ``spreads``, what the uncertainty of every excess is made of, that is done by a step-down over all of
    them together (:func:`flprivacy.auditing.multiplicity.step_down`); without, by Holm's method, which does not know
    how they hang together. So an audit of harmless targets has any leak with a probability of at most 1 - confidence.
    The interval, of one excess alone, must lie above the threshold too.
    ``no leak found``: in every metric but that of a single class, the upper end is below the threshold, over the
    strongest baseline and over every other that is not clearly weaker. It means that the attacks that were run gain
    less than the threshold, not that no attack can gain more.
    ``inconclusive``: anything else.

    An attribute without a rule gets no verdict. The ``note`` is appended to every reason. Attacks of which a baseline
    that could explain the excess is ``missing`` (attack -> in words) are never called a leak.

    Raises:
        AuditError: a rule for an exposed fraction that was not audited or a metric that was not measured.
    """
    asked = [
        tests
        for attribute in dict.fromkeys(e.attack.attribute for e in excesses)
        if attribute in rules
        for question, threshold in rules[attribute].asked().items()
        if (about := [e for e in excesses if (e.attack.attribute, e.attack.question) == (attribute, question)])
        for tests in _tests(about, replace(rules[attribute], threshold=threshold))
    ]
    adjusted = iter(_adjusted([test for tests in asked for test in tests], spreads))
    verdicts = []
    for tests in asked:
        lacking = (missing or {}).get(tests[0].best.attack, "")
        looks = tuple(_look(test, metrics, next(adjusted), 1.0 - confidence, lacking) for test in tests)
        verdicts.append(_verdict(tests, looks, metrics, note))
    return verdicts


def _adjusted(tests: Sequence[_Test], spreads: Mapping[ExcessEstimate, Composed] | None) -> list[float]:
    p_values = [test.p_leak for test in tests]
    return holm(p_values) if spreads is None else step_down(p_values, [spreads[test.decisive] for test in tests])


def _p_above(excess: ExcessEstimate, threshold: float) -> float:
    if not excess.standard_error or excess.degrees is None:
        raise AuditError(f"{excess.attack}: the excess over {excess.baseline} has no standard error; audit again")
    statistic = (threshold - excess.value) / excess.standard_error
    return min(1.0, excess.strongest_of * float(special.stdtr(excess.degrees, statistic)))


def _tests(excesses: Sequence[ExcessEstimate], rule: PolicyRule) -> list[list[_Test]]:
    """Return what a rule looks at in every attack at the deciding fraction, the rule's metric first."""
    attribute = attribute_of(excesses[0].attack.attribute)
    if rule.also is None:
        tolerated = {} if attribute.is_regression else {"auc_ovr": rule.threshold}
        wanted = {name: t for name, t in tolerated.items() if any(e.metric == name for e in excesses)}
    else:
        wanted = dict(rule.also)
    if attribute.one_class if rule.one_class is None else rule.one_class:
        wanted |= {ONE_CLASS: rule.threshold} if any(e.metric == ONE_CLASS for e in excesses) else {}
    deciding = {metric: _deciding(excesses, metric, rule.fraction) for metric in {rule.metric: 0.0, **wanted}}
    thresholds = wanted | {rule.metric: rule.threshold}
    return [
        [
            _Test(over=tuple(e for e in found if e.attack == attack), threshold=thresholds[metric])
            for metric, found in deciding.items()
        ]
        for attack in dict.fromkeys(e.attack for e in deciding[rule.metric])
    ]


def _deciding(excesses: Sequence[ExcessEstimate], metric: str, wanted: float | None) -> list[ExcessEstimate]:
    """Return the excesses of an attribute that its rule looks at in one metric."""
    attribute, fractions = excesses[0].attack.attribute, sorted({e.attack.fraction for e in excesses})
    measured = [name for name in dict.fromkeys(e.metric for e in excesses) if name != ONE_CLASS]
    if metric not in (*measured, ONE_CLASS):
        raise AuditError(
            f"policy.rules.{attribute}.metric is {metric!r}, which this attack is not measured by; "
            f"choose from {', '.join(measured)}"
        )
    fraction = fractions[-1] if wanted is None else wanted
    found = [e for e in excesses if e.metric == metric and e.attack.fraction == fraction]
    audited = {(e.attack.target, e.attack.access) for e in excesses}
    if {(e.attack.target, e.attack.access) for e in found} != audited:
        raise AuditError(
            f"policy.rules.{attribute}.fraction is {fraction:g}, which was not audited for every target and access; "
            f"audited are {', '.join(f'{f:g}' for f in fractions)}: attack with it or change the rule"
        )
    return found


def _verdict(tests: Sequence[_Test], looks: tuple[Look, ...], metrics: Sequence[MetricEstimate], note: str) -> Verdict:
    waited_for = [look for look, test in zip(looks, tests, strict=True) if test.clears]
    leaking = [look for look in looks if look.verdict == LEAK]
    unsettled = [look for look in waited_for if look.verdict != NO_LEAK]
    verdict, telling = (LEAK, leaking) if leaking else (INCONCLUSIVE, unsettled) if unsettled else (NO_LEAK, waited_for)
    main, best = looks[0], tests[0].best
    attacked = _find(metrics, best, best.attack.target, (best.attack.access,))
    first, *others = telling
    reason = first.reason if first is main else f"{_title(first)}: {first.reason}"
    if others:
        reason += f"; likewise in {', '.join(map(_title, others))}"
    reason = f"{QUESTIONS[best.attack.question]}: {reason}"
    return Verdict(
        attack=best.attack,
        metric=main.metric,
        value=main.value,
        value_ci_low=attacked.ci_low,
        value_ci_high=attacked.ci_high,
        baseline=main.baseline,
        baseline_value=main.baseline_value,
        excess=main.excess,
        ci_low=main.ci_low,
        ci_high=main.ci_high,
        p_value=best.p_value,
        threshold=main.threshold,
        verdict=verdict,
        question=best.attack.question,
        reason=f"{reason}; {note}" if note else reason,
        looks=looks,
    )


def _title(look: Look) -> str:
    return f"AUC of {look.of_class}" if look.of_class else metric_of(look.metric).title


def _look(test: _Test, metrics: Sequence[MetricEstimate], p_adjusted: float, error: float, missing: str) -> Look:
    best = test.best
    verdict, reason = _decide(test, p_adjusted, error, missing)
    return Look(
        metric=best.metric,
        of_class=best.of_class,
        value=_find(metrics, best, best.attack.target, (best.attack.access,)).value,
        baseline=best.baseline,
        baseline_value=_find(metrics, best, best.baseline, (best.attack.access, NO_ACCESS)).value,
        excess=best.value,
        ci_low=best.ci_low,
        ci_high=best.ci_high,
        threshold=test.threshold,
        p_leak=test.p_leak,
        p_adjusted=p_adjusted,
        verdict=verdict,
        reason=reason,
        patients_share=best.patients_share,
        seeds_share=best.seeds_share,
    )


def _find(
    metrics: Sequence[MetricEstimate], like: ExcessEstimate, target: str, accesses: tuple[str, ...]
) -> MetricEstimate:
    wanted = {replace(like.attack, target=target, access=access) for access in accesses}
    return next(m for m in metrics if (m.metric, m.of_class) == (like.metric, like.of_class) and m.attack in wanted)


def _decide(test: _Test, p_adjusted: float, error: float, missing: str) -> tuple[str, str]:
    """Return what one metric says and its reason in plain words."""
    best, metric, threshold = test.best, metric_of(test.best.metric), test.threshold

    def said(end: float) -> str:
        return _number(end, threshold, metric, signed=True)

    limit = f"the threshold {_number(threshold, threshold, metric)}"
    lowest = min(test.over, key=lambda e: e.ci_low)
    highest = max((e for e in test.over if e.as_good or e.best_baseline), key=lambda e: e.ci_high)
    strongest = f"the best baseline ({best.baseline})"
    above = f"lower end {said(best.ci_low)} over {strongest} is above {limit}"
    if lowest.ci_low > threshold and missing:
        return INCONCLUSIVE, f"{above}, but {missing}"
    if lowest.ci_low > threshold and p_adjusted < error:
        return LEAK, f"{above}, and so it is over every other baseline"
    if lowest.ci_low > threshold:
        return INCONCLUSIVE, f"{above}, but among the many tests of this audit chance may do that (p {p_adjusted:.2g})"
    if highest.ci_high < threshold:
        return NO_LEAK, f"upper end {said(best.ci_high)} over {strongest} is below {limit}"
    if best.ci_high < threshold:
        return INCONCLUSIVE, (
            f"upper end {said(best.ci_high)} over {strongest} is below {limit}, but over {highest.baseline}, which may "
            f"be as good, it is {said(highest.ci_high)}"
        )
    if best.ci_low > threshold:
        return INCONCLUSIVE, f"{above}, but over {lowest.baseline} it is only {said(lowest.ci_low)}"
    return INCONCLUSIVE, f"interval {said(best.ci_low)} to {said(best.ci_high)} over {strongest} contains {limit}"


def _number(value: float, threshold: float, metric: Metric, *, signed: bool = False) -> str:
    """Write a number so that it does not look equal to the threshold unless it is."""
    digits = metric.decimals
    while digits < 6 and value != threshold and f"{value:.{digits}f}" == f"{threshold:.{digits}f}":
        digits += 1
    text = f"{value:+.{digits}f}" if signed else f"{value:g}"
    if metric.unit:
        return f"{text} {metric.unit}"
    return text.replace("0.", ".", 1) if text.lstrip("+-").startswith("0.") else text
