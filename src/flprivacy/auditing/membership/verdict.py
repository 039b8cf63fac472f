"""What the policy says of a target's members, corrected for the number of attacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy import special

from flprivacy.auditing.membership.config import AUC, MembershipAudit
from flprivacy.auditing.membership.rates import Sample, p_above
from flprivacy.auditing.multiplicity import holm
from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK
from flprivacy.core.membership import AttackExposure, MembershipVerdict


@dataclass(frozen=True, kw_only=True)
class _Looked:
    """The deciding metric of one attack."""

    attack: str
    metric: str
    limit: float
    value: float
    chance: float
    excess: float
    low: float
    high: float
    p_leak: float


def judge_membership(
    attacks: Mapping[str, tuple[Sample, AttackExposure]], config: MembershipAudit
) -> MembershipVerdict:
    """Return the verdict on a target.

    ``leak``: the interval of an attack's excess is above the threshold, and its p-value stays below 1 - confidence when
    it is adjusted for all attacks by Holm's method. ``no leak found``: the intervals of all attacks are below the
    threshold; an attack that was not run may find more. ``inconclusive``: anything else.
    """
    tolerated = config.rule.tolerated
    looked = [_look(*one, metric, limit) for one in attacks.values() for metric, limit in tolerated.items()]
    adjusted = dict(zip(looked, holm([one.p_leak for one in looked]), strict=True))
    told = min(looked, key=lambda one: (one.p_leak, -one.low))
    above = f"{told.attack}: lower end {told.low:+.3f} above chance is above the threshold {told.limit:g}"
    if told.low > told.limit and adjusted[told] < 1.0 - config.confidence:
        verdict, reason = LEAK, above
    elif told.low > told.limit:
        verdict = INCONCLUSIVE
        reason = f"{above}, but with {len(attacks)} attacks chance may do that (p {adjusted[told]:.2g})"
    else:
        told = max(looked, key=lambda one: one.high - one.limit)
        interval = f"{told.attack}: interval {told.low:+.3f} to {told.high:+.3f} above chance contains"
        upper = f"upper end {told.high:+.3f} above chance, of the attack that finds most ({told.attack}), is below"
        verdict, said = (INCONCLUSIVE, interval) if told.high >= told.limit else (NO_LEAK, upper)
        reason = f"{said} the threshold {told.limit:g}"
    reason += " (AUC)" if told.metric == AUC and len(tolerated) > 1 else ""
    return MembershipVerdict(
        attack=told.attack,
        metric=told.metric,
        value=told.value,
        chance=told.chance,
        excess=told.excess,
        excess_low=told.low,
        excess_high=told.high,
        threshold=told.limit,
        p_leak=told.p_leak,
        p_adjusted=adjusted[told],
        verdict=verdict,
        reason=reason,
    )


def adjust_together(verdicts: Sequence[MembershipVerdict], confidence: float) -> list[MembershipVerdict]:
    """Return the verdicts of several targets and levels with their error controlled over all of them, by Holm's method.

    Each verdict's p-value is adjusted for the attacks on its own target already. A leak that chance may explain becomes
    inconclusive.
    """
    adjusted = holm([one.p_adjusted for one in verdicts])
    return [_settled(replace(one, p_adjusted=p), confidence) for one, p in zip(verdicts, adjusted, strict=True)]


def _settled(verdict: MembershipVerdict, confidence: float) -> MembershipVerdict:
    if verdict.verdict != LEAK or verdict.p_adjusted < 1.0 - confidence:
        return verdict
    doubt = f"among the tests of this audit chance may do that (p {verdict.p_adjusted:.2g})"
    return replace(verdict, verdict=INCONCLUSIVE, reason=f"{verdict.reason}, but {doubt}")


def _look(sample: Sample, exposure: AttackExposure, metric: str, limit: float) -> _Looked:
    if metric == AUC:
        area = exposure.auc
        shortfall = limit + 0.5 - area.value
        known = area.standard_error > 0.0
        p = float(special.stdtr(area.degrees, shortfall / area.standard_error)) if known else float(shortfall >= 0.0)
        value, chance, excess, low, high = area.value, 0.5, area.value - 0.5, area.low - 0.5, area.high - 0.5
    else:
        rate = next(one for one in exposure.rates if metric == f"tpr_at_fpr_{one.fpr:g}")
        p = p_above(sample, rate.fpr, limit)
        value, chance, excess = rate.tpr, rate.chance, rate.excess
        low, high = rate.excess_low, rate.excess_high
    return _Looked(
        attack=exposure.attack,
        metric=metric,
        limit=limit,
        value=value,
        chance=chance,
        excess=excess,
        low=low,
        high=high,
        p_leak=p,
    )
