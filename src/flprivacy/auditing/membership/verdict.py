"""What the policy says of a target's members, corrected for the number of attacks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scipy import special

from flprivacy.auditing.config import AUC, MembershipAudit
from flprivacy.auditing.membership.rates import Sample, p_above
from flprivacy.auditing.multiplicity import holm
from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK
from flprivacy.core.membership import AttackExposure, MembershipVerdict


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
    adjusted = holm([one.p_leak for one in looked])
    looked = [replace(one, p_adjusted=p) for one, p in zip(looked, adjusted, strict=True)]
    told = min(looked, key=lambda one: (one.p_leak, -one.excess_low))
    above = f"{told.attack}: lower end {told.excess_low:+.3f} above chance is above the threshold {told.threshold:g}"
    if told.excess_low > told.threshold and told.p_adjusted < 1.0 - config.confidence:
        verdict, reason = LEAK, above
    elif told.excess_low > told.threshold:
        verdict = INCONCLUSIVE
        reason = f"{above}, but with {len(attacks)} attacks chance may do that (p {told.p_adjusted:.2g})"
    else:
        told = max(looked, key=lambda one: one.excess_high - one.threshold)
        low, high = told.excess_low, told.excess_high
        interval = f"{told.attack}: interval {low:+.3f} to {high:+.3f} above chance contains"
        upper = f"upper end {high:+.3f} above chance, of the attack that finds most ({told.attack}), is below"
        verdict, said = (INCONCLUSIVE, interval) if high >= told.threshold else (NO_LEAK, upper)
        reason = f"{said} the threshold {told.threshold:g}"
    reason += " (AUC)" if told.metric == AUC and len(tolerated) > 1 else ""
    return replace(told, verdict=verdict, reason=reason)


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


def _look(sample: Sample, exposure: AttackExposure, metric: str, limit: float) -> MembershipVerdict:
    """Return the deciding metric of one attack; what it means is for others to say, beside the other attacks."""
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
    return MembershipVerdict(
        attack=exposure.attack,
        metric=metric,
        value=value,
        chance=chance,
        excess=excess,
        excess_low=low,
        excess_high=high,
        threshold=limit,
        p_leak=p,
        p_adjusted=p,
        verdict="",
        reason="",
    )
