"""The audit of the members of all targets of a study, from the tables that membership attacks end in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from flprivacy.auditing.config import AUC, MembershipAudit, MembershipRule
from flprivacy.auditing.membership.audit import MembershipResult, audit_membership
from flprivacy.auditing.membership.rates import resolves
from flprivacy.auditing.membership.site_findings import site_finding
from flprivacy.auditing.membership.verdict import adjust_together
from flprivacy.core.audit import INCONCLUSIVE, NO_LEAK
from flprivacy.core.membership import LEVELS, PATIENT, SITE, AttackExposure, ExposedMember, MembershipFinding
from flprivacy.core.membership_scores import SPLIT, MembershipScores
from flprivacy.core.reference_scores import SiteSignals

# Above which the attacker calls a scan a member: at an estimated false positive rate of 5%.
_OWN_THRESHOLDS = {"population": 0.95, "RMIA": 0.95, "calibrated loss": 0.0, "BaVarIA": 0.0, "LiRA": 0.0}
_DELTA = 1e-5
_BY_SPLIT = "nobody stated who was trained on: the cohort's training split is taken for the members"
_NO_REFERENCES = (
    "no reference models were trained, so these attacks cannot tell a member from an easy scan; attacks with "
    "references find more, at low false positive rates above all, and references say which scans are most at risk"
)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What private training promises: epsilon at delta for one ``scan``, ``patient`` or ``site``."""

    unit: str
    epsilon: float
    delta: float


Exposed = dict[str, dict[str, dict[str, list[ExposedMember]]]]
"""Target -> level -> attack -> the members that it is surest of, by pseudonym."""
VULNERABLE = "most vulnerable"  # in place of an attack: the members that were said to be, whatever the target answers


def audit_targets(
    tables: Iterable[MembershipScores],
    claims: Mapping[str, Claim],
    *,
    rule: MembershipRule | None,
    confidence: float,
    doubts: Mapping[str, str] | None = None,
    sites: Iterable[SiteSignals] = (),
) -> tuple[list[MembershipFinding], Exposed]:
    """Return what was found of each target's members, by scan and by patient, and apart from it who is most exposed.

    Where hospitals were asked about, their finding comes behind these. The error of all verdicts together is at most
    1 - ``confidence``. Baselines, which were trained on nobody, are left out.

    Args:
        tables: of the attacks, one a target.
        claims: target -> what its training promises.
        rule: what is a leak; None: there are numbers and no verdicts.
        confidence: of intervals and verdicts.
        doubts: target -> why no attack can clear it; empty where nothing speaks against it.
        sites: what references on halves of the hospitals answer, of the targets of which there are some.
    """
    found: list[MembershipFinding] = []
    exposed: Exposed = {}
    for table in sorted((t for t in tables if t.role != "baseline"), key=lambda t: t.target):
        if table.why_not:
            found.append(_nothing(table, LEVELS[0], f"membership was not attacked: {table.why_not}"))
            continue
        for level in LEVELS:
            finding, vulnerable = _finding(table, level, claims.get(table.target), rule, confidence)
            named = {one.attack: list(one.most_exposed) for one in finding.attacks}
            exposed.setdefault(table.target, {})[level] = named | ({VULNERABLE: vulnerable} if vulnerable else {})
            found.append(replace(finding, attacks=tuple(map(_nameless, finding.attacks))))
    found += [_of_sites(asked, claims.get(asked.target), rule, confidence) for asked in sites]
    found.sort(key=lambda finding: finding.target)  # a target's levels stay in order
    return [_doubted(one, (doubts or {}).get(one.target, "")) for one in _together(found, confidence)], exposed


def _of_sites(
    asked: SiteSignals, claim: Claim | None, rule: MembershipRule | None, confidence: float
) -> MembershipFinding:
    claimed = (claim.epsilon, claim.delta) if claim is not None and claim.unit == SITE else None
    return site_finding(asked, rule=rule, confidence=confidence, claimed=claimed)


def _doubted(finding: MembershipFinding, doubt: str) -> MembershipFinding:
    """Return a finding that does not clear a target of which it is in doubt whether it was asked as it works."""
    if not doubt or finding.verdict != NO_LEAK:
        return finding
    reason = f"{doubt}; if it saw what it was trained on: {finding.reason}"
    return replace(finding, verdict=INCONCLUSIVE, reason=reason)


def _together(found: list[MembershipFinding], confidence: float) -> list[MembershipFinding]:
    adjusted = iter(adjust_together([f.decision for f in found if f.decision is not None], confidence))
    settled = []
    for finding in found:
        if finding.decision is not None:
            decision = next(adjusted)
            finding = replace(finding, decision=decision, verdict=decision.verdict, reason=decision.reason)
        settled.append(finding)
    return settled


def _nothing(table: MembershipScores, level: str, reason: str, verdict: str = "") -> MembershipFinding:
    return MembershipFinding(
        target=table.target, level=level, verdict=verdict, reason=reason, members_from=table.members_from
    )


def _nameless(exposure: AttackExposure) -> AttackExposure:
    return replace(exposure, most_exposed=())


def _finding(
    table: MembershipScores, level: str, claim: Claim | None, rule: MembershipRule | None, confidence: float
) -> tuple[MembershipFinding, list[ExposedMember]]:
    """Return what was found at a level, and the most vulnerable members by name."""
    patients = [len(np.unique(table.patient_ids[some])) for some in (table.members, ~table.members)]
    if min(patients) < 2:
        few = f"{patients[0]} patient(s) who were trained on and {patients[1]} who were not are too few to tell apart"
        return _nothing(table, level, few, INCONCLUSIVE if rule is not None else ""), []
    n = patients[1] if level == PATIENT else int((~table.members).sum())
    judged = rule is not None and (rule.fpr is None or resolves(rule.fpr, n))
    claim = claim if claim is not None and claim.unit == level else None
    result = audit_membership(
        table.members,
        table.scores,
        patients=table.patient_ids,
        level=level,
        groups={"site": table.sites} if level == PATIENT else {"site": table.sites, "class": table.classes},
        names=table.scan_ids,
        own_thresholds={name: value for name, value in _OWN_THRESHOLDS.items() if name in table.scores},
        delta=claim.delta if claim else _DELTA,
        claimed_epsilon=claim.epsilon if claim else None,
        vulnerability=table.vulnerability if len(table.vulnerability) else None,
        config=MembershipAudit(
            rule=rule if judged and rule is not None else MembershipRule(metric=AUC), confidence=confidence
        ),
    )
    finding, vulnerable = _of_result(table, level, claim, result), list(result.most_vulnerable)
    if judged:
        return replace(finding, decision=result.decision), vulnerable
    if rule is None:
        return replace(finding, reason="the policy has no rule for membership"), vulnerable
    needed = int(np.ceil(1.0 / rule.fpr)) if rule.fpr else 0
    reason = (
        f"{n} non-members do not resolve a false positive rate of {rule.fpr:g}: at least {needed} are needed; decide "
        f"by a rate of 1/{n} or more, or by auc"
    )
    return replace(finding, verdict=INCONCLUSIVE, reason=reason), vulnerable


def _of_result(table: MembershipScores, level: str, claim: Claim | None, result: MembershipResult) -> MembershipFinding:
    broken = [result.epsilon.reason] if claim and result.epsilon.epsilon_lower > claim.epsilon else []
    return MembershipFinding(
        target=table.target,
        level=level,
        verdict="",
        reason="",
        members_from=table.members_from,
        n_members=result.n_members,
        n_non_members=result.n_non_members,
        resolvable_fpr=result.resolvable_fpr,
        attacks=result.attacks,
        epsilon_lower=result.epsilon.epsilon_lower,
        epsilon_claimed=claim.epsilon if claim else None,
        delta=result.epsilon.delta,
        references=table.references,
        spread=table.spread,
        caveats=(*broken, *result.caveats, *([_BY_SPLIT] if table.members_from == SPLIT else []), *_missed(table)),
    )


def _missed(table: MembershipScores) -> list[str]:
    """Return what a target without references is not asked, in a sentence."""
    if table.references:
        return []
    return [
        f"{_NO_REFERENCES}; none were trained: {table.why_no_references}" if table.why_no_references else _NO_REFERENCES
    ]
