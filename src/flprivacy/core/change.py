"""What changed since the last audit: differences with intervals, and a verdict a target and for the whole run."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from flprivacy.core.attributes import AttackKey
from flprivacy.core.parsing import JsonRecord, inline

WORSE, BETTER, NO_CHANGE = "changed for the worse", "changed for the better", "no evidence of change"
TOO_LITTLE_POWER, FIRST_AUDIT, NOT_COMPARABLE = "too little power to tell", "first audit", "not comparable"


@dataclass(frozen=True, kw_only=True)
class AttackChange:
    """How much more the same attack gets out of the present model than out of the previous one.

    ``value`` is positive where the present model gives away more (for ``mae_years``: years of error saved). Interval
    and p-value allow for variation between patients, attacker seeds and training runs; ``p_adjusted`` is Holm's over
    all attacks on all targets that were compared in the same run. ``model_ci_low``, ``model_ci_high`` and
    ``model_p_value`` leave out variation between training runs: they are about these two models, not the recipe.
    """

    attack: AttackKey = field(metadata=inline())
    metric: str  # the policy's metric
    before: float  # strength of the attack on the previous model
    now: float  # strength of the attack on the present one
    value: float
    ci_low: float
    ci_high: float
    p_value: float  # two-sided, of no difference beyond chance
    p_adjusted: float  # the same, corrected for the number of attacks
    model_ci_low: float  # lower end of the interval for these two models
    model_ci_high: float
    model_p_value: float  # two-sided, of no difference between these two models
    standard_error: float | None = None  # of the difference; this and what follows is None in older changes
    degrees: float | None = None  # of freedom, with which the standard error is known
    tolerated: float | None = None  # excess that the policy tolerates in an audit
    question: str = ""  # of an audit that the attack answers; empty in older changes
    detectable: float | None = None  # smallest true change that is found with 80% power among the run's attacks

    @property
    def target(self) -> str:
        """Name of the target."""
        return self.attack.target

    @property
    def what(self) -> str:
        """The attack in words, such as "site from features"."""
        return f"{self.attack.attribute} from {self.attack.access}"


@dataclass(frozen=True, kw_only=True)
class MembershipChange:
    """How much better an attack finds the training scans of the present model than it found the previous one's.

    ``value`` is positive where the present model gives away more. Interval and p-values are as in
    :class:`AttackChange`; the unit is the patient.
    """

    target: str
    by: str  # the attack, such as ``LiRA``
    metric: str  # that the policy looks at: ``tpr_at_fpr_0.01`` or ``auc``
    before: float
    now: float
    value: float
    ci_low: float
    ci_high: float
    p_value: float
    p_adjusted: float
    model_ci_low: float
    model_ci_high: float
    model_p_value: float
    standard_error: float
    degrees: float
    tolerated: float  # excess above chance that the policy tolerates in an audit
    paired: bool  # by scan; False: from the intervals of the two audits
    references: int  # from which chance in training was estimated; 0: so much is assumed
    detectable: float | None = None

    @property
    def what(self) -> str:
        """The attack in words, such as "membership by LiRA"."""
        return f"membership by {self.by}"


Change = AttackChange | MembershipChange


@dataclass(frozen=True, kw_only=True)
class PreviousAudit:
    """Which audit a target is compared with."""

    run_id: str  # its run in MLflow
    digest: str = ""  # SHA-256 of its ``audit.json``
    target_digest: str = ""  # of the target as it was then
    cohort_digest: str = ""  # of the cohort that it was attacked with
    ended: str = ""  # when it was filed, in ISO 8601 with time zone; empty where unknown


@dataclass(frozen=True, kw_only=True)
class FoundTarget:
    """A target as it is published now, beside its last audit."""

    target: str
    location: str  # where it is, pinned: the folder or registered version that was found, with facts about it
    digest: str
    changed: bool  # whether it, the cohort or the configuration is not what was audited before
    # its last audit, the one that is still good where nothing changed; None: never audited
    previous: PreviousAudit | None = None


@dataclass(frozen=True, kw_only=True)
class FoundTargets(JsonRecord):
    """What a re-audit found published."""

    _kind, _step = "a list of targets", "find_targets"

    cohort_name: str
    cohort_digest: str
    confidence: float  # of the policy's verdicts
    targets: tuple[FoundTarget, ...]  # one entry a target, in order of name


@dataclass(frozen=True, kw_only=True)
class TargetChange:
    """What became of one target since its last audit."""

    target: str
    # ``changed for the worse``, ``changed for the better``, ``no evidence of change``, ``too little power to tell``,
    # ``first audit`` or ``not comparable``
    verdict: str
    reason: str  # the verdict in a sentence
    digest: str = ""  # of the target now
    previous: PreviousAudit | None = None  # the audit that it is compared with; None for a first one
    audited: bool = True  # whether it was attacked in this run; False: nothing changed since its last audit
    attacks: tuple[AttackChange, ...] = ()  # one difference an attack, none where nothing was compared
    note: str = ""  # what must be known of the audit that it is compared with
    membership: tuple[MembershipChange, ...] = ()  # one difference an attack and metric; empty in older changes

    @property
    def compared(self) -> tuple[Change, ...]:
        """Everything that was compared."""
        return (*self.attacks, *self.membership)


@dataclass(frozen=True, kw_only=True)
class AuditChange(JsonRecord):
    """What became of all targets of a re-audit."""

    _kind, _step = "a change of audits", "compare_audits"

    verdict: str  # the gravest of the targets' verdicts
    reason: str
    cohort_name: str  # of the cohort that all was attacked with
    cohort_digest: str
    confidence: float  # with which no target is called changed that is not, over all targets and attacks of the run
    targets: tuple[TargetChange, ...]  # one entry a target, the gravest first
    notes: dict[str, str] = field(default_factory=dict)  # free facts worth a line


_GRAVEST_FIRST = (WORSE, NOT_COMPARABLE, FIRST_AUDIT, TOO_LITTLE_POWER, BETTER, NO_CHANGE)


def gravest(verdicts: Iterable[str]) -> str:
    """Return the gravest verdict; ``no evidence of change`` if there is none."""
    return min(verdicts, key=_GRAVEST_FIRST.index, default=NO_CHANGE)


def gravity(change: TargetChange) -> tuple[int, str]:
    """Return what puts the gravest target first."""
    return _GRAVEST_FIRST.index(change.verdict), change.target
