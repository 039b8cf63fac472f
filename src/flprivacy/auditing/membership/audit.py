"""The audit of a target's members by all attacks together, on arrays; and who is exposed most."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.config import MembershipAudit
from flprivacy.auditing.epsilon.audit import EpsilonAudit, audit_epsilon
from flprivacy.auditing.membership.rates import (
    Sample,
    auc,
    balanced_accuracy,
    effective,
    limits,
    rate_at,
    resolvable_fpr,
    resolves,
    roc,
)
from flprivacy.auditing.membership.units import Units, units_of
from flprivacy.auditing.membership.verdict import judge_membership
from flprivacy.core.array_types import BoolArray, StrArray
from flprivacy.core.errors import AuditError
from flprivacy.core.membership import (
    SCAN,
    AttackExposure,
    ExposedMember,
    GroupExposure,
    MembershipVerdict,
    VulnerableExposure,
)

_VULNERABLE, _MOST, _NON_MEMBERS = 0.1, 0.5, 20  # share of the scans; at most; and how many non-members it should hold


@dataclass(frozen=True, kw_only=True)
class MembershipResult:
    """What membership attacks prove about a target.

    Attributes:
        level: what is a member, ``scan`` or ``patient``.
        decision: the verdict with the numbers that it rests on.
        attacks: what each attack finds.
        epsilon: lower bounds on epsilon, of all attacks together. They assume that scans (or patients) do not influence
            each other, and that members differ from non-members in having been trained on only.
        n_members: scans (or patients) that were trained on.
        n_non_members: those that were not.
        resolvable_fpr: false positive rate below which so many non-members can show nothing.
        caveats: what weakens the result, in sentences; empty if nothing.
        most_vulnerable: the members that were said to be, the most vulnerable first; empty where nobody said it.
    """

    level: str
    decision: MembershipVerdict
    attacks: tuple[AttackExposure, ...]
    epsilon: EpsilonAudit
    n_members: int
    n_non_members: int
    resolvable_fpr: float
    caveats: tuple[str, ...]
    most_vulnerable: tuple[ExposedMember, ...] = ()

    @property
    def verdict(self) -> str:
        """``leak``, ``no leak found`` or ``inconclusive``."""
        return self.decision.verdict

    @property
    def reason(self) -> str:
        """The verdict in a sentence."""
        return self.decision.reason


def audit_membership(
    members: npt.ArrayLike,
    scores: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    *,
    patients: npt.ArrayLike | None = None,
    level: str = SCAN,
    groups: Mapping[str, npt.ArrayLike] | None = None,
    names: npt.ArrayLike | None = None,
    own_thresholds: Mapping[str, float] | None = None,
    delta: float = 1e-5,
    claimed_epsilon: float | None = None,
    vulnerability: npt.ArrayLike | None = None,
    config: MembershipAudit | None = None,
) -> MembershipResult:
    """Judge what membership attacks find of a target's training scans.

    True positive rates at low false positive rates come first: an attack that is sure of a few patients is a leak even
    if it guesses about the others. Which patients were held out must have been chance, or differences between members
    and non-members show that had nothing to do with training.

    Args:
        members: (scan,) bool, whether the target was trained on a scan. No patient may have scans of both kinds.
        scores: (scan,) scores of an attack, higher for likelier a member; or name -> (scan,) of several attacks, all
            chosen before looking.
        patients: (scan,) pseudonym or number of each scan's patient; every scan is a patient of its own if None.
        level: ``scan`` asks whether a scan was trained on; ``patient`` whether any of a patient's was, by the mean
            score of the patient's scans.
        groups: kind, such as ``site`` -> (scan,) name of each scan's group; of level ``patient``, one a patient.
        names: (scan,) pseudonyms of the scans, for the most exposed ones; numbers if None. Of patients, their own.
        own_thresholds: attack -> the score above which the attacker calls a scan a member, fixed without knowing who
            is, such as 0 for log likelihood ratios.
        delta: at which epsilon is bounded.
        claimed_epsilon: epsilon at ``delta`` that the training claims for what ``level`` says; None for no claim.
        vulnerability: (scan,) how much any model would tell of a scan that it was trained on, higher for more: from
            reference models alone, or from what the scan looks like, not from the target's answers. The most vulnerable
            scans are then looked at by themselves, too; an audit of the average patient says little about them (Aerni
            et al., arXiv:2404.17399).
        config: rule, rates and confidence; the defaults if None.

    Returns:
        The result.

    Raises:
        AuditError: arrays that do not fit together, scores that are not finite, fewer than 2 patients among members or
            non-members, a patient who is both, or too few non-members for the false positive rate of the rule.
        ConfigError: an option out of range.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> members = np.arange(1000) < 500
        >>> result = audit_membership(members, rng.normal(size=1000) + 1.5 * members)
        >>> result.verdict, result.attacks[0].rates[0].realised_fpr
        ('leak', 0.01)
    """
    config = config or MembershipAudit()
    named = dict(scores) if isinstance(scores, Mapping) else {"attack": scores}
    units = units_of(
        members,
        named,
        patients=patients,
        level=level,
        groups=groups or {},
        names=names,
        vulnerability=vulnerability,
    )
    _check_own(own_thresholds or {}, named)
    caveats = _caveats(units, config, patients is not None)
    found = {
        name: (sample, _exposure(name, sample, units, (own_thresholds or {}).get(name), config))
        for name, sample in units.samples.items()
    }
    return MembershipResult(
        level=level,
        decision=judge_membership(found, config),
        attacks=tuple(exposure for _, exposure in found.values()),
        epsilon=audit_epsilon(
            {name: sample.members for name, sample in units.samples.items()},
            {name: sample.non_members for name, sample in units.samples.items()},
            delta=delta,
            confidence=config.confidence,
            claimed_epsilon=claimed_epsilon,
            methods=("Clopper-Pearson",),
        ),
        n_members=units.n_members,
        n_non_members=units.n_non_members,
        resolvable_fpr=resolvable_fpr(units.n_non_members, config.confidence),
        caveats=caveats,
        most_vulnerable=()
        if units.vulnerability is None
        else tuple(most_exposed(units.vulnerability, units.member_names, config.most_exposed)),
    )


def _check_own(thresholds: Mapping[str, float], scores: Mapping[str, npt.ArrayLike]) -> None:
    unknown = sorted(set(thresholds) - set(scores))
    if unknown:
        raise AuditError(f"own_thresholds name {unknown[0]!r}, which is none of the attacks {', '.join(scores)}")


def _caveats(units: Units, config: MembershipAudit, patients_given: bool) -> tuple[str, ...]:
    """Return what weakens a result; refuse a rule whose rate cannot be resolved."""
    n = units.n_non_members
    rule = config.rule.fpr
    if rule is not None and not resolves(rule, n):
        raise AuditError(
            f"a false positive rate of {rule:g} cannot be resolved with {n} non-members: at least "
            f"{int(np.ceil(1.0 / rule))} are needed; decide by a rate of {1.0 / n:.2g} or more, or by auc"
        )
    missed = [f"{fpr:g}" for fpr in config.asked_fprs if not resolves(fpr, n)]
    caveats = [
        f"with {n} non-members a false positive rate of {' or '.join(missed)} is below one false positive: no true "
        "positive rate is given for it"
    ] * bool(missed)
    if not patients_given:
        caveats.append(
            "patients were not given, so every scan counts as a patient of its own; if some patients have several "
            "scans, the intervals are too narrow"
        )
    return tuple(caveats)


def _exposure(
    name: str, sample: Sample, units: Units, own_threshold: float | None, config: MembershipAudit
) -> AttackExposure:
    confidence = config.confidence
    fprs = [fpr for fpr in config.asked_fprs if resolves(fpr, units.n_non_members)]
    rates = tuple(rate_at(sample, fpr, confidence=confidence) for fpr in fprs)
    # Groups are looked at above the threshold that decides; where no rate can be resolved, above all non-members.
    deciding = next((one for one in rates if one.fpr == config.rule.fpr), rates[0] if rates else None)
    threshold = deciding.threshold if deciding else float(sample.non_members.max())
    return AttackExposure(
        attack=name,
        rates=rates,
        auc=auc(sample, confidence=confidence),
        balanced_accuracy=None
        if own_threshold is None
        else balanced_accuracy(sample, own_threshold, confidence=confidence),
        roc=roc(sample, confidence=confidence),
        groups=tuple(
            group
            for kind, of in units.groups.items()
            for group in by_group(sample, kind, of, threshold, confidence=confidence)
        ),
        most_exposed=tuple(most_exposed(sample, units.member_names, config.most_exposed)),
        vulnerable=None
        if units.vulnerability is None
        else most_vulnerable(sample, units.vulnerability, config.asked_fprs[0], confidence=confidence),
    )


def by_group(
    sample: Sample, kind: str, groups: tuple[StrArray, StrArray], threshold: float, *, confidence: float
) -> Iterator[GroupExposure]:
    """Yield the exposure of each group that has members; ``groups`` are those of the members and the non-members."""
    of_members, of_non_members = groups
    for group in np.unique(of_members).tolist():
        inside, outside = of_members == group, of_non_members == group
        part = _part(sample, inside, outside)
        tpr, size = float((part.members > threshold).mean()), effective(part.member_patients)
        low, high = limits(tpr * size, size, (1.0 - confidence) / 2.0)
        yield GroupExposure(
            kind=kind,
            group=str(group),
            n_members=int(inside.sum()),
            n_non_members=int(outside.sum()),
            tpr=tpr,
            tpr_low=low,
            tpr_high=high,
            auc=auc(part, confidence=confidence) if _fewest_patients(part) >= 2 else None,
        )


def most_exposed(sample: Sample, names: StrArray, most: int) -> Sequence[ExposedMember]:
    """Return the members with the highest scores; of equal ones, the first by name."""
    order = np.lexsort((names, -sample.members))[:most]
    as_high = (sample.non_members[:, None] >= sample.members[order]).sum(axis=0)
    return [
        ExposedMember(name=str(names[i]), score=float(sample.members[i]), non_members_as_high=int(count))
        for i, count in zip(order, as_high, strict=True)
    ]


def most_vulnerable(
    sample: Sample, vulnerability: Sample, fpr: float, *, confidence: float
) -> VulnerableExposure | None:
    """Return the exposure of the most vulnerable alone; None with fewer than 2 patients of either kind among them."""
    known = np.concatenate([vulnerability.members, vulnerability.non_members])
    share = min(_MOST, max(_VULNERABLE, _NON_MEMBERS / len(vulnerability.non_members)))
    least = np.sort(known)[::-1][int(np.ceil(share * len(known))) - 1]
    part = _part(sample, vulnerability.members >= least, vulnerability.non_members >= least)
    if _fewest_patients(part) < 2:
        return None
    n = len(part.non_members)
    return VulnerableExposure(
        n_members=len(part.members),
        n_non_members=n,
        rate=rate_at(part, max(fpr, 1.0 / n), confidence=confidence),
        auc=auc(part, confidence=confidence),
    )


def _part(sample: Sample, inside: BoolArray, outside: BoolArray) -> Sample:
    return Sample(
        members=sample.members[inside],
        non_members=sample.non_members[outside],
        member_patients=sample.member_patients[inside],
        non_member_patients=sample.non_member_patients[outside],
    )


def _fewest_patients(sample: Sample) -> int:
    return min(len(np.unique(of)) for of in (sample.member_patients, sample.non_member_patients))
