"""Does an attack find the members of a model better than it found those of the model audited before it?

Scans are asked about, patients are the unit. Areas under the curve are compared scan by scan where the tables of both
audits hold the same scans and the same members: the variance is that of the differences of their placement values. A
true positive rate at a low false positive rate rests on a handful of non-members in each audit, so its difference is
taken from the two exact intervals (Zou and Donner, Statistics in Medicine 2008), as if the audits were independent;
where the same patients are asked, that is too wide rather than too narrow. So is an area's where only the two audits'
numbers are there. To all of it is added how much two trainings differ by chance
(:mod:`flprivacy.auditing.membership.retraining`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from flprivacy.auditing.config import MembershipRule
from flprivacy.auditing.membership.rates import variance_of_difference
from flprivacy.auditing.membership.retraining import chance_in_training
from flprivacy.auditing.membership.units import samples_of
from flprivacy.auditing.uncertainty import Uncertainty, satterthwaite
from flprivacy.core.change import MembershipChange
from flprivacy.core.membership import AUC, TPR, AttackExposure, MembershipFinding
from flprivacy.core.membership_scores import MembershipScores

_WITHOUT_REFERENCES = ("loss", "population")


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditedMembers:
    """What one audit found of a target's members.

    Attributes:
        finding: by scan.
        confidence: of its intervals.
        table: of the attacks, with numbers for names; None where the audit kept none.
    """

    finding: MembershipFinding
    confidence: float
    table: MembershipScores | None = None

    @property
    def quantile(self) -> float:
        """How many standard errors its intervals reach to either side."""
        return float(ndtri(0.5 + self.confidence / 2.0))


def compare_members(
    now: AuditedMembers, before: AuditedMembers, *, rule: MembershipRule, confidence: float
) -> list[MembershipChange]:
    """Return the change of every attack on a target's members that both audits ran, p-values not yet adjusted.

    An attack with references is compared if both audits had as many of them: with more it finds more.

    Args:
        now: the present audit.
        before: the previous one.
        rule: whose metrics are compared.
        confidence: of the intervals.
    """
    return list(_changes(now, before, rule, confidence))


def same_scans(now: AuditedMembers, before: AuditedMembers) -> bool:
    """Return whether both audits kept their tables, of the same scans and the same members."""
    one, other = now.table, before.table
    if one is None or other is None or len(one.scan_ids) != len(other.scan_ids):
        return False
    mine, theirs = (np.argsort(table.scan_ids) for table in (one, other))
    return bool(
        (one.scan_ids[mine] == other.scan_ids[theirs]).all() and (one.members[mine] == other.members[theirs]).all()
    )


def _changes(
    now: AuditedMembers, before: AuditedMembers, rule: MembershipRule, confidence: float
) -> Iterator[MembershipChange]:
    earlier = {one.attack: one for one in before.finding.attacks}
    as_many = now.finding.references == before.finding.references
    paired = same_scans(now, before)
    for exposure in now.finding.attacks:
        if exposure.attack not in earlier or not (as_many or exposure.attack in _WITHOUT_REFERENCES):
            continue
        for metric, tolerated in rule.tolerated.items():
            pair = (exposure, earlier[exposure.attack])
            found = _areas(pair, now, before, paired) if metric == AUC else _rates(pair, metric, now, before)
            if found is not None:
                yield _change(exposure.attack, metric, tolerated, found, (now, before), confidence)


@dataclass(frozen=True, kw_only=True)
class _Difference:
    """One number of both audits, and how surely it differs for these two models."""

    now: float
    before: float
    lower: Uncertainty  # towards no difference and beyond, if the present value is the larger one
    upper: Uncertainty
    paired: bool

    @property
    def value(self) -> float:
        return self.now - self.before


def _areas(
    pair: tuple[AttackExposure, AttackExposure], now: AuditedMembers, before: AuditedMembers, paired: bool
) -> _Difference:
    one, other = (exposure.auc for exposure in pair)
    if paired and now.table is not None and before.table is not None:
        samples = [samples_of(_in_order(table))[pair[0].attack] for table in (now.table, before.table)]
        spread = variance_of_difference(samples[0], samples[1])
    else:
        parts = [(area.standard_error**2, area.degrees) for area in (one, other)]
        total = sum(variance for variance, _ in parts)
        spread = Uncertainty(variance=total, degrees=satterthwaite(total, parts))
    return _Difference(now=one.value, before=other.value, lower=spread, upper=spread, paired=paired)


def _in_order(table: MembershipScores) -> MembershipScores:
    """Return a table with its scans in the order of their numbers."""
    order = np.argsort(table.scan_ids)
    return replace(
        table,
        scan_ids=table.scan_ids[order],
        patient_ids=table.patient_ids[order],
        members=table.members[order],
        scores={attack: scores[order] for attack, scores in table.scores.items()},
    )


def _rates(
    pair: tuple[AttackExposure, AttackExposure], metric: str, now: AuditedMembers, before: AuditedMembers
) -> _Difference | None:
    """Return the difference of a rate; None where one audit does not resolve it."""
    found = [next((r for r in one.rates if metric == f"{TPR}{r.fpr:g}"), None) for one in pair]
    one, other = found
    if one is None or other is None:
        return None
    degrees = min(float(who.finding.n_members + who.finding.n_non_members) for who in (now, before)) / 2.0
    below, above = (one.excess - one.excess_low) / now.quantile, (one.excess_high - one.excess) / now.quantile
    under, over = (
        (other.excess - other.excess_low) / before.quantile,
        (other.excess_high - other.excess) / before.quantile,
    )
    lower, upper = (Uncertainty(variance=a * a + b * b, degrees=degrees) for a, b in ((below, over), (above, under)))
    return _Difference(now=one.tpr, before=other.tpr, lower=lower, upper=upper, paired=False)


def _change(
    attack: str,
    metric: str,
    tolerated: float,
    found: _Difference,
    who: tuple[AuditedMembers, AuditedMembers],
    confidence: float,
) -> MembershipChange:
    findings = [one.finding for one in who]
    patients = min(min(f.n_members, f.n_non_members) for f in findings)
    chance, references = chance_in_training(attack, metric, (found.now + found.before) / 2.0, patients, findings)

    def with_luck(spread: Uncertainty) -> Uncertainty:
        total = spread.variance + chance.variance
        parts = [(spread.variance, spread.degrees), (chance.square, chance.degrees)]
        return Uncertainty(variance=total, degrees=satterthwaite(total, parts))

    lower, upper = with_luck(found.lower), with_luck(found.upper)
    towards, of_models = (lower, found.lower) if found.value >= 0.0 else (upper, found.upper)
    own = of_models.p_value(found.value) if of_models.variance > 0.0 else float(found.value == 0.0)
    return MembershipChange(
        target=findings[0].target,
        by=attack,
        metric=metric,
        before=found.before,
        now=found.now,
        value=found.value,
        ci_low=lower.interval(found.value, confidence, low=-1.0, high=1.0)[0],
        ci_high=upper.interval(found.value, confidence, low=-1.0, high=1.0)[1],
        p_value=towards.p_value(found.value),
        p_adjusted=towards.p_value(found.value),
        model_ci_low=found.lower.interval(found.value, confidence, low=-1.0, high=1.0)[0],
        model_ci_high=found.upper.interval(found.value, confidence, low=-1.0, high=1.0)[1],
        model_p_value=own,
        standard_error=towards.standard_error,
        degrees=towards.degrees,
        tolerated=tolerated,
        paired=found.paired,
        references=references,
    )
