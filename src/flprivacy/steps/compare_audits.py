"""Step ``compare_audits``: what changed since the last audit, target by target."""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from flprivacy.auditing.changes import adjusted, compare_with_before, judge_change
from flprivacy.auditing.config import AuditConfig
from flprivacy.auditing.membership.changes import AuditedMembers, compare_members, same_scans
from flprivacy.core.artifacts import AUDIT_FILE, CHANGE_FILE, FOUND_FILE
from flprivacy.core.audit import Audit
from flprivacy.core.change import (
    FIRST_AUDIT,
    NOT_COMPARABLE,
    AttackChange,
    AuditChange,
    Change,
    FoundTarget,
    FoundTargets,
    MembershipChange,
    PreviousAudit,
    TargetChange,
    gravest,
    gravity,
)
from flprivacy.core.errors import AuditError, TrackingError
from flprivacy.core.events import emit
from flprivacy.core.membership import SCAN
from flprivacy.core.parsing import from_mapping
from flprivacy.execution.container import StepResult
from flprivacy.steps.find_targets import unchanged
from flprivacy.storage.artifact_store import deliver
from flprivacy.study.kept_scores import kept_members, kept_scores
from flprivacy.tracking.history import fetch_audit

LOGGER = logging.getLogger(__name__)


def compare_audits(*, audit: Path, found: Path, compared: Path) -> StepResult:
    """Compare an audit with the last one of each target, which MLflow has; never cached.

    A target that cannot be compared says why and does not stop the others; nor does an MLflow server that stays away
    through the cluster's retries, for the present audit must not be lost with it.

    Args:
        audit: folder of ``audit.json`` and its scores.
        found: what step ``find_targets`` wrote: what was published, beside its last audits.
        compared: folder to write: the audit, with what changed as ``change.json``.

    Returns:
        The gravest verdict, such as changed for the worse or no evidence of change.

    Raises:
        AuditError: the present audit is damaged.
        TrackingError: MLflow cannot be reached, and the cluster will try again.
    """
    now, world = Audit.read(audit / AUDIT_FILE), FoundTargets.read(found / FOUND_FILE)
    with tempfile.TemporaryDirectory() as name:
        earlier = cache(partial(_earlier, Path(name)))
        changes = [_compare(one, now, audit, earlier) if one.changed else unchanged(one) for one in world.targets]
    change = judged(changes, world)
    deliver(audit, compared)
    change.write(compared / CHANGE_FILE)
    for one in change.targets:
        LOGGER.info("%s: %s; %s", one.target, one.verdict, one.reason)
        if one.note:
            LOGGER.warning("%s: %s", one.target, one.note)
    emit("note", text=f"since the last audit: {change.verdict} ({change.reason})")
    return StepResult(parameters={"Output": change.verdict}, metadata={"compared": {"change": change.verdict}})


def judged(compared: list[TargetChange], world: FoundTargets) -> AuditChange:
    """Return the verdicts of all targets together: p-values are adjusted over every attack that was compared."""
    attacks = adjusted([change for one in compared for change in one.compared], confidence=world.confidence)
    targets = sorted((_judge(one, attacks, world.confidence) for one in compared), key=gravity)
    verdict = gravest(one.verdict for one in targets)
    names = ", ".join(one.target for one in targets if one.verdict == verdict)
    return AuditChange(
        verdict=verdict,
        reason=f"{verdict}: {names}; {len(attacks)} attacks on {len(targets)} target(s) compared",
        cohort_name=world.cohort_name,
        cohort_digest=world.cohort_digest,
        confidence=world.confidence,
        targets=tuple(targets),
    )


def _judge(one: TargetChange, changes: list[Change], confidence: float) -> TargetChange:
    ours = [change for change in changes if change.target == one.target]
    if not ours:
        return one
    verdict, reason = judge_change(ours, confidence=confidence)
    attacks = tuple(change for change in ours if isinstance(change, AttackChange))
    members = tuple(change for change in ours if isinstance(change, MembershipChange))
    return replace(one, verdict=verdict, reason=reason, attacks=attacks, membership=members)


def _compare(
    one: FoundTarget, now: Audit, folder: Path, earlier: Callable[[PreviousAudit], tuple[Audit, Path]]
) -> TargetChange:
    """Return the change of one target, its attacks and members not yet judged."""
    failure = next((f.reason for f in now.failures if f.target == one.target), "")
    if failure:
        return _without(one, NOT_COMPARABLE, f"could not be audited: {failure}")
    if one.previous is None:
        return _without(
            one, FIRST_AUDIT, "there is no earlier audit of it in MLflow; the next one is compared with this"
        )
    if one.previous.cohort_digest != now.cohort_digest:
        return _without(one, NOT_COMPARABLE, _other_cohort(one.previous, now))
    try:
        before, there = earlier(one.previous)
        _check_same_attack(before, now)
        config = from_mapping(AuditConfig, now.config["audit"], "audit.json: config.audit")
        attacks = compare_with_before(one.target, kept_scores(folder, now), kept_scores(there, before), config=config)
        members, said = _members(one.target, (now, folder), (before, there), config)
    except AuditError as error:
        return _without(one, NOT_COMPARABLE, str(error))
    except TrackingError as error:
        return _without(one, NOT_COMPARABLE, f"its last audit could not be fetched: {error}")
    note = "; ".join(filter(None, (_older(before), said)))
    return replace(_without(one, "", ""), attacks=tuple(attacks), membership=tuple(members), note=note)


def _members(
    target: str, now: tuple[Audit, Path], before: tuple[Audit, Path], config: AuditConfig
) -> tuple[list[MembershipChange], str]:
    """Return what changed about a target's members, and what must be known of it.

    Raises:
        AuditError: a table is missing or another.
    """
    rule = config.policy.membership
    ours, earlier = _audited(target, *now), _audited(target, *before)
    if rule is None or ours is None:
        return [], ""
    if earlier is None:
        return [], "its last audit has no numbers of who was trained on, so nothing is said of that"
    said = []
    if ours.table is None or earlier.table is None:
        said.append("one of the two audits kept no scores of members, so membership is compared by their intervals")
    elif not same_scans(ours, earlier):
        said.append("the two audits asked about other scans, so membership is compared by their intervals")
    if ours.finding.references != earlier.finding.references:
        numbers = f"{earlier.finding.references} reference models and now {ours.finding.references}"
        said.append(f"its last audit had {numbers}, so attacks on membership that need them are not compared")
    return compare_members(ours, earlier, rule=rule, confidence=config.confidence), "; ".join(said)


def _audited(target: str, audit: Audit, folder: Path) -> AuditedMembers | None:
    """Return what an audit found of a target's training scans; None if it did not ask, or found no answer."""
    finding = next((f for f in audit.membership if (f.target, f.level) == (target, SCAN) and f.attacks), None)
    if finding is None:
        return None
    confidence = float(audit.config["audit"]["confidence"])
    return AuditedMembers(finding=finding, confidence=confidence, table=kept_members(folder, audit, target))


def _older(before: Audit) -> str:
    """Say of an audit that was made before its questions were told apart what may be compared; empty of others."""
    if any(v.question for v in before.verdicts):
        return ""
    return (
        "its last audit held attacks without the scan against pixels, too, so its verdicts answered another question; "
        "the attacks themselves are compared as ever"
    )


def _earlier(folder: Path, previous: PreviousAudit) -> tuple[Audit, Path]:
    """Return an earlier audit and its folder, below the given one.

    Raises:
        AuditError: MLflow no longer has it as it was filed.
        TrackingError: MLflow cannot be reached.
    """
    there = fetch_audit(previous.run_id, previous.digest, folder / previous.run_id)
    return Audit.read(there / AUDIT_FILE), there


def _without(one: FoundTarget, verdict: str, reason: str) -> TargetChange:
    return TargetChange(target=one.target, verdict=verdict, reason=reason, digest=one.digest, previous=one.previous)


def _other_cohort(previous: PreviousAudit, now: Audit) -> str:
    return (
        f"its last audit was of cohort {previous.cohort_digest[:12]}, this one is of {now.cohort_digest[:12]}: other "
        "patients, so a difference would be theirs too; the next audit is compared with this"
    )


def _check_same_attack(before: Audit, now: Audit) -> None:
    """Refuse to compare attacks that are not the same: a better attack is no worse model.

    Raises:
        AuditError: configuration, protocol or the attacks' code differ.
    """
    one, other = (audit.provenance.get("attack", {}) for audit in (before, now))
    if one == other:
        return
    versions = [str(audit.provenance.get("versions", {}).get("flprivacy", "unknown")) for audit in (before, now)]
    differing = sorted(k for k in {*one, *other} if one.get(k) != other.get(k))
    raise AuditError(
        f"the attacks of the two audits differ in {', '.join(differing)} (flprivacy {versions[0]}, now {versions[1]}), "
        "so a difference would be theirs too; the next audit is compared with this"
    )
