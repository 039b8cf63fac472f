"""Step ``find_targets``: what is published now, and which of it was audited before."""

import logging
from typing import Any

from flprivacy.cohorts.remote import CohortPlace, find_cohort
from flprivacy.core.artifacts import CHANGE_FILE, FOUND_FILE
from flprivacy.core.change import NO_CHANGE, AuditChange, FoundTarget, FoundTargets, TargetChange
from flprivacy.core.errors import ConfigError, StorageError
from flprivacy.core.events import emit
from flprivacy.core.target import TargetRecord
from flprivacy.execution.container import ONLY_OUTPUT, StepResult
from flprivacy.execution.ends import leave_result
from flprivacy.execution.passing import Open, SharedStore
from flprivacy.presets import digest_now, load_preset
from flprivacy.steps.notify import change_message
from flprivacy.storage.parameters import resolve_mapping
from flprivacy.study.config import StudyConfig
from flprivacy.study.given_targets import resolved_inputs, usable_records
from flprivacy.study.kept_scores import audit_key
from flprivacy.study.plan import check_can_work, given_study
from flprivacy.targets.listing import latest_targets, resolve_targets
from flprivacy.tracking.history import last_audit, same_audit
from flprivacy.tracking.results import sync_spool

LOGGER = logging.getLogger(__name__)


def find_targets(
    *,
    cohort: str,
    targets: dict[str, str],
    targets_from: tuple[str, ...],
    preset: str,
    overrides: dict[str, Any],
    found: Open,
    store: SharedStore = "",
    kfp_run: str = "",
) -> StepResult:
    """Find which targets are published now, and which of them were not audited yet in this way; never cached.

    The truth about earlier audits is MLflow: one counts if it is FINISHED there. What the spool still holds is filed
    first.

    Args:
        cohort: folder of the cohort: a path, or a URI that starts with file://, s3:// or gs://.
        targets: name and location of targets that stay in one place.
        targets_from: prefixes of published target folders, of which the newest of each name counts, or MLflow URIs.
        preset: name of a preset (demo, paper), or path or URI of a YAML file; its attack and audit sections are used.
        store: location of finished artifacts and checkpoints.
        kfp_run: id of the pipeline run, under which step ``notify`` finds the verdict if nothing must be audited.
        found: folder to write: what is published beside its last audits, and the verdict if nothing must be audited.

    Returns:
        ``Output``: "yes" if anything must be audited, else "no" (kfp.local lets a pipeline ask for no output of another
        name); ``targets``: name and pinned location of what must be audited; ``resolved``: a digest that changes
        whenever these or the cohort do.

    Raises:
        ConfigError: no target, two of one name, or a wrong field.
        TargetError: nothing is published, or no target that is can be used.
        CohortError: the cohort breaks the format's rules.
        StorageError: something cannot be read.
        TrackingError: MLflow cannot be reached, so that nobody knows what was audited.
    """
    try:
        for logged in sync_spool(store):
            emit("note", text=f"MLflow: logged from the spool as run {logged.name} of experiment {logged.experiment}")
    except (ConfigError, StorageError) as error:
        LOGGER.warning("what is left in the spool stays there: %s", error)
    source = find_cohort(cohort)
    words = latest_targets(targets_from, resolve_targets(targets))
    records = usable_records(words, store)
    digest = digest_now(preset)
    base = load_preset(preset, resolve_mapping(overrides, "overrides"), digest=digest).study
    check_can_work(base, preset=preset, trains=False)
    study = given_study(base, {name: record.architecture for name, record in records.items()}, words)
    world = FoundTargets(
        cohort_name=source.meta.name,
        cohort_digest=source.meta.digest,
        confidence=study.audit.confidence,
        targets=tuple(_found(name, words[name], records.get(name), study, source) for name in words),
    )
    found.mkdir(parents=True, exist_ok=True)
    world.write(found / FOUND_FILE)
    changed = {one.target: one.location for one in world.targets if one.changed}
    if not changed:
        verdict = unchanged_verdict(world)
        verdict.write(found / CHANGE_FILE)
        leave_result(change_message(verdict, kfp_run=kfp_run), run=kfp_run, store=store)
        emit("note", text=f"since the last audit: {verdict.verdict} ({verdict.reason})")
    for one in world.targets:
        LOGGER.info("%s: %s, %s", one.target, one.location, "to be audited" if one.changed else "audited before")
        if not one.changed and one.previous is not None:
            emit("note", text=f"{one.target}: unchanged since its audit of {one.previous.ended}, not audited again")
    resolved = resolved_inputs(source, changed, store, digest)
    return StepResult(parameters={ONLY_OUTPUT: "yes" if changed else "no", "targets": changed, "resolved": resolved})


def _found(name: str, word: str, record: TargetRecord | None, study: StudyConfig, source: CohortPlace) -> FoundTarget:
    if record is None:  # it cannot be used; the attack on it will say why
        previous = last_audit(name, cohort_name=source.meta.name, cohort_digest=source.meta.digest)
        return FoundTarget(target=name, location=word, digest="", changed=True, previous=previous)
    key = audit_key(
        target=name,
        cohort_digest=source.meta.digest,
        target_digest=record.digest,
        architecture=record.architecture,
        study=study,
    )
    same = same_audit(name, key)
    previous = same or last_audit(name, cohort_name=source.meta.name, cohort_digest=source.meta.digest)
    return FoundTarget(target=name, location=word, digest=record.digest, changed=same is None, previous=previous)


def unchanged(one: FoundTarget) -> TargetChange:
    """Return what is said of a target that need not be audited."""
    when = one.previous.ended if one.previous is not None else ""
    return TargetChange(
        target=one.target,
        verdict=NO_CHANGE,
        reason=f"target, cohort and configuration are those of its audit of {when}",
        digest=one.digest,
        previous=one.previous,
        audited=False,
    )


def unchanged_verdict(found: FoundTargets) -> AuditChange:
    """Return the verdict on a world in which nothing was published since the last audits."""
    return AuditChange(
        verdict=NO_CHANGE,
        reason=f"nothing was published since the last audit of {len(found.targets)} target(s)",
        cohort_name=found.cohort_name,
        cohort_digest=found.cohort_digest,
        confidence=found.confidence,
        targets=tuple(map(unchanged, found.targets)),
    )
