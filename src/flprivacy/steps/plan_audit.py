"""Step ``plan_audit``: resolve the configuration of an audit of given targets, and bring the cohort."""

from pathlib import Path
from typing import Any

from flprivacy.cohorts.remote import find_cohort
from flprivacy.core.parts import WITHOUT_MODEL
from flprivacy.execution.container import StepResult
from flprivacy.execution.passing import Open, SharedStore
from flprivacy.execution.resources import check_resources
from flprivacy.presets import digest_now, load_preset
from flprivacy.storage.backends.contract import ChangedObjectError
from flprivacy.storage.parameters import resolve_mapping
from flprivacy.study.given_cohort import pull_cohort
from flprivacy.study.given_targets import plan_given, resolved_inputs
from flprivacy.study.plan import check_can_work, parts_of
from flprivacy.study.references import check_enough_sites, check_named, reference_jobs
from flprivacy.targets.listing import resolve_targets


def plan_audit(
    *,
    preset: str,
    overrides: dict[str, Any],
    cohort: str,
    targets: dict[str, str],
    plan: Open,
    scans: Path,
    resolved: str = "",
    changed_only: bool = False,
    store: SharedStore = "",
    try_again: int = 0,
    train_gpus: str = "0",
    train_cpu: str = "1",
    train_memory: str = "1Gi",
) -> StepResult:
    """Resolve the configuration of an audit, add its baselines, and bring the cohort to where the other steps read it.

    There is an untrained baseline for every architecture; the preset's ``pretrained`` ones of those are kept. With a
    store that other machines see, of the cohort only its place is noted.

    Args:
        preset: name of a preset (demo, paper) or path of a YAML file; its attack, audit and protocol are used.
        cohort: folder of the cohort: a path, or a URI that starts with file://, s3:// or gs://.
        targets: name of each target and its folder, weights file or MLflow URI, with facts about it, separated by
            commas; or a reference to an object in the store that lists them.
        plan: file to write: the resolved configuration, which all later steps read.
        scans: folder to write: the cohort, with the volumes that attacks read, or ``cohort.json`` and ``place.json``.
        resolved: what step ``resolve_inputs`` returned: a cached plan is used again only while that stays the same.
            Empty: whatever is there now.
        changed_only: whether targets are those alone of a re-audit that changed: the preset may then name others.
        train_gpus, train_cpu, train_memory: what steps that train ask of the cluster; only checked here.
        store: location of finished artifacts and checkpoints, which keeps what weights files were converted to.

    Returns:
        What is attacked, in parts for a pod each: the attackers without a model, the baselines, which take longest, the
        targets, and the reference models to train.

    Raises:
        ConfigError: no target, a wrong name, field or quantity, or references of a target that is not given.
        CohortError: the cohort breaks the format's rules.
        TargetError: no target can be used; one that cannot beside others fails in the attack on it.
        ChangedObjectError: cohort, targets or preset are not those that were resolved, or changed while they were read.
        StorageError: an object cannot be read or stays damaged.
    """
    del try_again  # part of the task's key on a cluster: its plan is another artifact, and so is all that is made of it
    check_resources(train_gpus=train_gpus, train_cpu=train_cpu, train_memory=train_memory)
    sources, changes = resolve_targets(targets), resolve_mapping(overrides, "overrides")
    digest = digest_now(preset)
    base = load_preset(preset, changes, digest=digest).study
    check_can_work(base, preset=preset, trains=False)
    run = plan_given(base, preset=preset, overrides=changes, cohort=cohort, sources=sources, store=store)
    if not changed_only:
        check_named(run.study.membership, sources)
    place = find_cohort(cohort)
    if resolved and resolved != resolved_inputs(place, sources, store, digest):
        raise ChangedObjectError(
            f"{cohort}: it, a target or the preset changed since it was resolved; run again once that is finished"
        )
    check_enough_sites(run, len(place.meta.site_names))
    facts = pull_cohort(run, scans, store=store)
    run.write(plan)
    references = [job.name for job in reference_jobs(run)]
    attacked = [WITHOUT_MODEL, *sorted(run.study.targets), *sorted(sources), *references]
    parts = parts_of(attacked, without_baselines=len(sources) + len(references), store=store)
    return StepResult(parameters={"Output": parts}, metadata={"scans": facts})
