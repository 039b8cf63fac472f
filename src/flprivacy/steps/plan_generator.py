"""Step ``plan_generator``: resolve the configuration of a generator of a given cohort, and bring the cohort."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from flprivacy.cohorts.remote import find_cohort
from flprivacy.execution.container import StepResult
from flprivacy.execution.passing import Open, SharedStore
from flprivacy.execution.resources import check_resources
from flprivacy.presets import digest_now, load_preset
from flprivacy.storage.backends.contract import ChangedObjectError
from flprivacy.storage.parameters import resolve_mapping
from flprivacy.study.given_cohort import pull_cohort
from flprivacy.study.given_targets import resolved_inputs
from flprivacy.study.plan import GENERATOR_PIPELINE, Plan, check_trains_generator, repeat_command


def plan_generator(
    *,
    preset: str,
    overrides: dict[str, Any],
    cohort: str,
    plan: Open,
    scans: Path,
    resolved: str = "",
    store: SharedStore = "",
    try_again: int = 0,
    train_gpus: str = "0",
    train_cpu: str = "1",
    train_memory: str = "1Gi",
) -> StepResult:
    """Resolve the configuration of a generator, and bring the cohort that it is trained on to where steps read it.

    Args:
        preset: name of a preset (demo, synthesis) or path of a YAML file; its generator and synthesis are used.
        cohort: folder of the cohort: a path, or a URI that starts with file://, s3:// or gs://.
        plan: file to write: the resolved configuration, which all later steps read.
        scans: folder to write: the cohort with all of its volumes, or ``cohort.json`` and ``place.json``.
        resolved: what step ``resolve_inputs`` returned: a cached plan is used again only while that stays the same.
            Empty: whatever is there now.
        train_gpus, train_cpu, train_memory: what steps that train ask of the cluster; only checked here.
        store: location of finished artifacts and checkpoints.

    Returns:
        What may be said of the cohort.

    Raises:
        ConfigError: a wrong preset, field or quantity, or a preset without a generator.
        CohortError: the cohort breaks the format's rules, or is itself synthetic.
        ChangedObjectError: it is no longer the one that was resolved, or changed while it was read.
        StorageError: an object cannot be read or stays damaged.
    """
    del try_again  # part of the task's key on a cluster: its plan is another artifact, and so is all that is made of it
    check_resources(train_gpus=train_gpus, train_cpu=train_cpu, train_memory=train_memory)
    changes = resolve_mapping(overrides, "overrides")
    digest = digest_now(preset)
    study = load_preset(preset, changes, digest=digest).study
    check_trains_generator(study, preset=preset)
    if resolved and resolved != resolved_inputs(find_cohort(cohort), {}, store, digest):
        raise ChangedObjectError(
            f"{cohort}: it or the preset changed since it was resolved; run again once it is finished"
        )
    command = f"{repeat_command(GENERATOR_PIPELINE, preset, changes)} --cohort {shlex.quote(cohort)}"
    run = Plan(pipeline=GENERATOR_PIPELINE, command=command, study=replace(study, cohort=None), cohort=cohort)
    facts = pull_cohort(run, scans, store=store)
    run.write(plan)
    return StepResult(metadata={"scans": facts})
