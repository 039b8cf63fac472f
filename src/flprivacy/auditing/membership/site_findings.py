"""The finding on the hospitals of a target: numbers of references on halves of them, and the policy's word."""

from functools import partial

import numpy as np
from scipy import special

from flprivacy.auditing.config import AUC, MembershipRule
from flprivacy.auditing.membership.site_references import SiteReferencesResult, audit_site_references
from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK
from flprivacy.core.membership import SITE, MembershipFinding, MembershipVerdict, SiteExposure
from flprivacy.core.reference_scores import SiteSignals

ATTACK = "contributed scans"  # what the attacker holds of a hospital where the verdict is made


def site_finding(
    asked: SiteSignals,
    *,
    rule: MembershipRule | None,
    confidence: float,
    claimed: tuple[float, float] | None = None,
    redraws: int = 9999,
) -> MembershipFinding:
    """Return what references on halves of the hospitals tell of a target's hospitals, with a verdict on its own.

    Args:
        asked: of the references.
        rule: what is a leak; its tolerated AUC decides. None, or none tolerated: there is no verdict.
        confidence: of intervals and of the verdict.
        claimed: epsilon and delta that the target's training claims for a hospital; None for no claim.
        redraws: of the halves, for p-values.
    """
    if asked.why_not:
        reason = f"it was not asked whether a hospital took part: {asked.why_not}"
        return MembershipFinding(target=asked.target, level=SITE, verdict="", reason=reason)
    audit = partial(audit_site_references, confidence=confidence, redraws=redraws)
    found = audit(asked.contributed, asked.took_part, sites=asked.sites)
    # Where a hospital has no other scans, that question is left out for all.
    others = audit(asked.held_out, asked.took_part) if np.isfinite(asked.held_out).all() else None
    references, hospitals = asked.took_part.shape
    exposure = SiteExposure(
        auc=found.auc,
        p_value=found.p_value,
        noticed=found.noticed,
        least_p_value=found.least_p_value,
        held_out=others.auc if others is not None else None,
        held_out_p_value=others.p_value if others is not None else None,
        references=references,
        recognised=found.recognised,
    )
    limit = rule.tolerated.get(AUC) if rule is not None else None
    decision = _judged(found, limit, confidence) if limit is not None else None
    return MembershipFinding(
        target=asked.target,
        level=SITE,
        verdict=decision.verdict if decision is not None else "",
        reason=decision.reason if decision is not None else "the policy has no rule for the AUC of membership",
        decision=decision,
        references=references,
        epsilon_claimed=claimed[0] if claimed is not None else None,
        delta=claimed[1] if claimed is not None else None,
        caveats=(
            f"{references} models trained like the target were asked, each on half of {hospitals} hospitals; the "
            "target itself was trained on all of them, so each hospital weighs less in it",
            f"with so many hospitals and references an AUC below {found.noticed:.2f} cannot be told from chance, and "
            f"no p-value is below {found.least_p_value:.1g}",
        ),
        sites=exposure,
    )


def _judged(found: SiteReferencesResult, limit: float, confidence: float) -> MembershipVerdict:
    area = found.auc
    excess, low, high = (value - 0.5 for value in (area.value, area.low, area.high))
    known = area.standard_error > 0.0
    beyond = float(special.stdtr(area.degrees, (limit - excess) / area.standard_error)) if known else 0.0
    # An AUC beyond the threshold is also beyond chance, which is tested without an assumption.
    p_leak = max(beyond if known or excess > limit else 1.0, found.p_value)
    if low > limit and p_leak < 1.0 - confidence:
        verdict, reason = LEAK, f"lower end {low:+.3f} above chance is above the threshold {limit:g} (AUC)"
    elif low > limit or high >= limit:
        interval = f"interval {low:+.3f} to {high:+.3f} above chance"
        verdict, reason = INCONCLUSIVE, f"{interval} contains the threshold {limit:g} (AUC)"
        if low > limit:
            reason = f"{interval} is above the threshold {limit:g} (AUC), but chance may do that (p {p_leak:.2g})"
    else:
        verdict, reason = NO_LEAK, f"upper end {high:+.3f} above chance is below the threshold {limit:g} (AUC)"
    return MembershipVerdict(
        attack=ATTACK,
        metric=AUC,
        value=area.value,
        chance=0.5,
        excess=excess,
        excess_low=low,
        excess_high=high,
        threshold=limit,
        p_leak=p_leak,
        p_adjusted=p_leak,
        verdict=verdict,
        reason=reason,
    )
