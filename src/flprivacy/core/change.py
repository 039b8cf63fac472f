"""What changed since the last audit: differences with intervals, and a verdict a target and for the whole run."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from flprivacy.core.attributes import AttackKey
from flprivacy.core.json_record import JsonRecord
from flprivacy.core.parsing import inline

WORSE, BETTER, NO_CHANGE = "changed for the worse", "changed for the better", "no evidence of change"
FIRST_AUDIT, NOT_COMPARABLE = "first audit", "not comparable"


@dataclass(frozen=True, kw_only=True)
class AttackChange:
    """How much more the same attack gets out of the present model than out of the previous one.

    ``value`` is positive where the present model gives away more (for ``mae_years``: years of error saved). Interval
    and p-value allow for variation between patients, attacker seeds and training runs; ``p_adjusted`` is Holm's over
    all attacks on all targets that were compared in the same run. ``model_ci_low``, ``model_ci_high`` and
    ``model_p_value`` leave out variation between training runs: they are about these two models, not the recipe.

    Attributes:
        attack: what was attacked and how.
        metric: the policy's metric.
        before: strength of the attack on the previous model.
        now: strength of the attack on the present one.
        value: the difference.
        ci_low: lower end of its interval.
        ci_high: upper end.
        p_value: two-sided, of no difference beyond chance.
        p_adjusted: the same, corrected for the number of attacks.
        model_ci_low: lower end of the interval for these two models.
        model_ci_high: upper end.
        model_p_value: two-sided, of no difference between these two models.
    """

    attack: AttackKey = field(metadata=inline())
    metric: str
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


@dataclass(frozen=True, kw_only=True)
class PreviousAudit:
    """Which audit a target is compared with.

    Attributes:
        run_id: its run in MLflow.
        digest: SHA-256 of its ``audit.json``.
        target_digest: of the target as it was then.
        cohort_digest: of the cohort that it was attacked with.
        ended: when it was filed, in ISO 8601 with time zone; empty where unknown.
    """

    run_id: str
    digest: str = ""
    target_digest: str = ""
    cohort_digest: str = ""
    ended: str = ""


@dataclass(frozen=True, kw_only=True)
class FoundTarget:
    """A target as it is published now, beside its last audit.

    Attributes:
        target: its name.
        location: where it is, pinned: the folder or registered version that was found, with facts about it.
        digest: of the target.
        changed: whether it, the cohort or the configuration is not what was audited before.
        previous: its last audit, the one that is still good where nothing changed; None: never audited.
    """

    target: str
    location: str
    digest: str
    changed: bool
    previous: PreviousAudit | None = None


@dataclass(frozen=True, kw_only=True)
class FoundTargets(JsonRecord):
    """What a re-audit found published.

    Attributes:
        cohort_name: of the cohort.
        cohort_digest: of the cohort.
        confidence: of the policy's verdicts.
        targets: one entry a target, in order of name.
    """

    _kind, _step = "a list of targets", "find_targets"

    cohort_name: str
    cohort_digest: str
    confidence: float
    targets: tuple[FoundTarget, ...]


@dataclass(frozen=True, kw_only=True)
class TargetChange:
    """What became of one target since its last audit.

    Attributes:
        target: its name.
        verdict: ``changed for the worse``, ``changed for the better``, ``no evidence of change``, ``first audit`` or
            ``not comparable``.
        reason: the verdict in a sentence.
        digest: of the target now.
        previous: the audit that it is compared with; None for a first one.
        audited: whether it was attacked in this run; False: nothing changed since its last audit.
        attacks: one difference an attack, none where nothing was compared.
    """

    target: str
    verdict: str
    reason: str
    digest: str = ""
    previous: PreviousAudit | None = None
    audited: bool = True
    attacks: tuple[AttackChange, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AuditChange(JsonRecord):
    """What became of all targets of a re-audit.

    Attributes:
        verdict: the gravest of the targets' verdicts.
        reason: in a sentence.
        cohort_name: of the cohort that all was attacked with.
        cohort_digest: of it.
        confidence: with which no target is called changed that is not, over all targets and attacks of the run.
        targets: one entry a target, the gravest first.
        notes: free facts worth a line.
    """

    _kind, _step = "a change of audits", "compare_audits"

    verdict: str
    reason: str
    cohort_name: str
    cohort_digest: str
    confidence: float
    targets: tuple[TargetChange, ...]
    notes: dict[str, str] = field(default_factory=dict)


_GRAVEST_FIRST = (WORSE, NOT_COMPARABLE, FIRST_AUDIT, BETTER, NO_CHANGE)


def gravest(verdicts: Iterable[str]) -> str:
    """Return the gravest verdict; ``no evidence of change`` if there is none."""
    return min(verdicts, key=_GRAVEST_FIRST.index, default=NO_CHANGE)


def gravity(change: TargetChange) -> tuple[int, str]:
    """Return what puts the gravest target first."""
    return _GRAVEST_FIRST.index(change.verdict), change.target
