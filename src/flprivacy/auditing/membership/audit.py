"""The audit of a target's members by all attacks together, on arrays."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.config import MembershipAudit
from flprivacy.auditing.epsilon.audit import EpsilonAudit, audit_epsilon
from flprivacy.auditing.membership.exposure import by_group, most_exposed, most_vulnerable
from flprivacy.auditing.membership.rates import Sample, auc, balanced_accuracy, rate_at, resolvable_fpr, resolves, roc
from flprivacy.auditing.membership.units import Units, units_of
from flprivacy.auditing.membership.verdict import judge_membership
from flprivacy.core.errors import AuditError
from flprivacy.core.membership import SCAN, AttackExposure, ExposedMember, MembershipVerdict


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
