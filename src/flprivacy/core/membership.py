"""What an audit of membership found, as auditing writes it and reporting and tracking read it."""

from dataclasses import dataclass, field

SCAN, PATIENT, SITE = "scan", "patient", "site"
AUC = "auc"  # the metric of a policy that looks at the whole curve
TPR = "tpr_at_fpr_"  # before a rate: the metric of one that looks at a low false positive rate
LEAST_REFERENCES = 8  # that show how much trainings of one recipe differ
LEVELS = (SCAN, PATIENT)  # at which a target's own members are scored; of hospitals references are asked
TARGET_AND_GENERATOR = "target and generator"  # the attack of whoever holds both


@dataclass(frozen=True, kw_only=True)
class RateAtFpr:
    """How many members an attack finds where few non-members are taken for members.

    The threshold is the highest non-member's score but ``false_positives``. Limits of both rates are exact (Clopper and
    Pearson, 1934); where patients have several scans, these count as one if they are fully alike (see
    :mod:`flprivacy.auditing.membership.rates`).

    Attributes:
        fpr: false positive rate that was asked for.
        threshold: scans scored above it are called members.
        false_positives: non-members above it.
        realised_fpr: their share of the non-members, at most ``fpr``.
        fpr_low: lower end of the interval of the threshold's true false positive rate.
        fpr_high: upper end.
        tpr: share of members above it.
        tpr_low: lower end of its interval.
        tpr_high: upper end.
        chance: ``tpr`` to be expected if members were no different.
        excess: ``tpr`` above chance.
        excess_low: lower end of the interval of true positive rate minus false positive rate, both being uncertain.
        excess_high: upper end.
    """

    fpr: float
    threshold: float
    false_positives: int
    realised_fpr: float
    fpr_low: float
    fpr_high: float
    tpr: float
    tpr_low: float
    tpr_high: float
    chance: float
    excess: float
    excess_low: float
    excess_high: float


@dataclass(frozen=True, kw_only=True)
class Area:
    """An area under the ROC curve, or a balanced accuracy: in [0, 1], 0.5 by chance; patients are the unit.

    Attributes:
        value: the estimate.
        low: lower end of its interval.
        high: upper end.
        standard_error: of the value.
        degrees: of freedom, with which the standard error is known.
    """

    value: float
    low: float
    high: float
    standard_error: float
    degrees: float


@dataclass(frozen=True, kw_only=True)
class RocBand:
    """A ROC curve at some thresholds with the band of the true positive rate, exact at each threshold by itself."""

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    tpr_low: tuple[float, ...]
    tpr_high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class GroupExposure:
    """How exposed the members of one group are, such as the patients of one hospital.

    Attributes:
        kind: what groups are, such as ``site``.
        group: name of this one.
        n_members: its members.
        n_non_members: its non-members.
        tpr: share of its members above the threshold of all groups at the lowest resolvable rate asked for.
        tpr_low: lower end of its exact interval, of this group alone.
        tpr_high: upper end.
        auc: of its members against its non-members; None with fewer than 2 patients of either.
    """

    kind: str
    group: str
    n_members: int
    n_non_members: int
    tpr: float
    tpr_low: float
    tpr_high: float
    auc: Area | None


@dataclass(frozen=True, kw_only=True)
class ExposedMember:
    """One of the members that an attack is surest of.

    Attributes:
        name: pseudonym of the scan or patient.
        score: by the attack.
        non_members_as_high: non-members with at least this score.
    """

    name: str
    score: float
    non_members_as_high: int


@dataclass(frozen=True, kw_only=True)
class VulnerableExposure:
    """How exposed the most vulnerable scans are: a tenth, or as many as have some 20 non-members among them.

    Which these are was settled without the target, for members and non-members alike, and both numbers hold among them
    alone: the threshold is that of their own non-members.

    Attributes:
        n_members: members among them.
        n_non_members: non-members among them.
        rate: at the rule's false positive rate, or at the lowest that so few non-members resolve.
        auc: area under their ROC curve.
    """

    n_members: int
    n_non_members: int
    rate: RateAtFpr
    auc: Area


@dataclass(frozen=True, kw_only=True)
class AttackExposure:
    """What one attack finds.

    Attributes:
        attack: its name.
        rates: at each false positive rate that can be resolved, the highest first.
        auc: area under its ROC curve.
        balanced_accuracy: at the attacker's own threshold; None where the attack has none.
        roc: the curve.
        groups: exposure by group.
        most_exposed: the members it is surest of, the surest first.
        vulnerable: of the most vulnerable scans alone; None where nobody said which they are.
    """

    attack: str
    rates: tuple[RateAtFpr, ...]
    auc: Area
    balanced_accuracy: Area | None
    roc: RocBand
    groups: tuple[GroupExposure, ...]
    most_exposed: tuple[ExposedMember, ...]
    vulnerable: VulnerableExposure | None = None


@dataclass(frozen=True, kw_only=True)
class MembershipVerdict:
    """What the policy says of a target's members.

    Attributes:
        attack: that decides: of all attacks the one with the clearest excess.
        metric: that the policy looks at.
        value: of the attack.
        chance: value to be expected if members were no different.
        excess: above chance.
        excess_low: lower end of its interval.
        excess_high: upper end.
        threshold: excess that the policy tolerates.
        p_leak: one-sided, of an excess no larger than that.
        p_adjusted: the same by Holm's method over all attacks.
        verdict: ``leak``, ``no leak found`` or ``inconclusive``.
        reason: the verdict in a sentence.
    """

    attack: str
    metric: str
    value: float
    chance: float
    excess: float
    excess_low: float
    excess_high: float
    threshold: float
    p_leak: float
    p_adjusted: float
    verdict: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SiteExposure:
    """Whether models trained as a target tell which hospitals took part: of references on halves of the hospitals.

    Attributes:
        auc: probability that a hospital that took part scores higher than one that did not, by the scans that it
            contributed or would have; mean over references.
        p_value: exact, one-sided, over other ways to draw the halves.
        noticed: the least AUC whose p-value would not exceed 1 - confidence.
        least_p_value: the lowest that so many hospitals, references and redraws can give.
        held_out: the same AUC by other scans of the hospitals, that nobody trained on; None where there are too few.
        held_out_p_value: of that; None likewise.
        references: models that were asked.
        recognised: hospital -> share of the pairs of it, where it took part, and a hospital that did not, in which it
            scores higher.
    """

    auc: Area
    p_value: float
    noticed: float
    least_p_value: float
    held_out: Area | None
    held_out_p_value: float | None
    references: int
    recognised: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MembershipFinding:
    """What an audit found of the members of one target, at one level.

    Attributes:
        target: its name.
        level: what a member is, ``scan``, ``patient`` or ``site``.
        verdict: ``leak``, ``no leak found`` or ``inconclusive``; empty without a rule, or where nothing was attacked.
        reason: in a sentence.
        members_from: who says who the members are: ``lineage``, or ``split`` for the cohort's training split.
        n_members: scans (or patients) that were trained on and scored.
        n_non_members: those that were not.
        resolvable_fpr: false positive rate below which so many non-members can show nothing; None without any.
        decision: the numbers that the verdict rests on; None without a verdict from numbers.
        attacks: what each attack finds, without names.
        epsilon_lower: proven by the attacks, at ``delta``; None where nothing was attacked.
        epsilon_claimed: what the training claims for this level at ``delta``; None without a claim.
        delta: at which epsilon is bounded.
        references: models that were trained as the target, for the attacks that need them.
        caveats: what weakens the finding, in sentences.
        spread: attack -> how much trainings of one recipe differ in its AUC
            (:mod:`flprivacy.auditing.membership.retraining`); empty where too few references tell.
        sites: what hospitals' references tell, at level ``site``; None at others, or where there are none.
    """

    target: str
    level: str
    verdict: str
    reason: str
    members_from: str = ""
    n_members: int = 0
    n_non_members: int = 0
    resolvable_fpr: float | None = None
    decision: MembershipVerdict | None = None
    attacks: tuple[AttackExposure, ...] = ()
    epsilon_lower: float | None = None
    epsilon_claimed: float | None = None
    delta: float | None = None
    references: int = 0
    caveats: tuple[str, ...] = ()
    spread: dict[str, float] = field(default_factory=dict)
    sites: SiteExposure | None = None
