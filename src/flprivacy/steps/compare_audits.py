"""Step ``compare_audits``: what changed since the last audit, target by target."""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from flprivacy.auditing.changes import adjusted, compare_with_before, judge_change
from flprivacy.auditing.config import AuditConfig
from flprivacy.core.artifacts import AUDIT_FILE, CHANGE_FILE, FOUND_FILE, SCORES_FOLDER
from flprivacy.core.audit import Audit
from flprivacy.core.change import (
    FIRST_AUDIT,
    NOT_COMPARABLE,
    AttackChange,
    AuditChange,
    FoundTarget,
    FoundTargets,
    PreviousAudit,
    TargetChange,
    gravest,
    gravity,
)
from flprivacy.core.digests import digest_file
from flprivacy.core.errors import AuditError, TrackingError
from flprivacy.core.events import emit
from flprivacy.core.parsing import from_mapping
from flprivacy.core.scores import ScoreTable
from flprivacy.execution.container import StepResult
from flprivacy.execution.isolation import may_try_again
from flprivacy.steps.find_targets import unchanged
from flprivacy.storage.artifact_store import deliver
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
    attacks = adjusted([attack for one in compared for attack in one.attacks], confidence=world.confidence)
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


def _judge(one: TargetChange, attacks: list[AttackChange], confidence: float) -> TargetChange:
    ours = tuple(attack for attack in attacks if attack.attack.target == one.target)
    if not ours:
        return one
    verdict, reason = judge_change(ours, confidence=confidence)
    return replace(one, verdict=verdict, reason=reason, attacks=ours)


def _compare(
    one: FoundTarget, now: Audit, folder: Path, earlier: Callable[[PreviousAudit], tuple[Audit, Path]]
) -> TargetChange:
    """Return the change of one target, its attacks not yet judged."""
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
        attacks = compare_with_before(one.target, _scores(folder, now), _scores(there, before), config=config)
    except AuditError as error:
        return _without(one, NOT_COMPARABLE, str(error))
    except TrackingError as error:
        if may_try_again():
            raise
        return _without(one, NOT_COMPARABLE, f"its last audit could not be fetched: {error}")
    return replace(_without(one, "", ""), attacks=tuple(attacks), note=_older(before))


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


def _scores(folder: Path, audit: Audit) -> list[ScoreTable]:
    """Read the score tables of an audit, which must be those that it was made from.

    Raises:
        AuditError: one is missing or another.
    """
    tables = []
    for name, digest in sorted(audit.provenance.get("scores", {}).items()):
        path = folder / SCORES_FOLDER / f"{name}.parquet"
        if not path.is_file() or digest_file(path) != digest:
            raise AuditError(f"{path.name}: the scores of {name} in that audit are missing or were changed since")
        tables.append(ScoreTable.read(path))
    return tables
