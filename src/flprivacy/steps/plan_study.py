"""Step ``plan_study``: resolve the configuration of a study."""

from typing import Any

from flprivacy.core.parts import WITHOUT_MODEL
from flprivacy.core.vocabulary import PRETRAINED
from flprivacy.execution.passing import Open
from flprivacy.execution.resources import check_resources
from flprivacy.presets import load_resolved
from flprivacy.storage.parameters import resolve_mapping
from flprivacy.study.plan import Plan, check_can_work, parts_of, repeat_command
from flprivacy.study.references import check_enough_sites, check_references, reference_jobs

# With their attacks, two at a time. Many models take long to attack, so untrained ones are not left to the end.
_SLOWEST = ("siloed", "federated", "untrained", "central", PRETRAINED)


def plan_study(
    *,
    preset: str,
    overrides: dict[str, Any],
    plan: Open,
    resolved: str = "",
    store: str = "",
    try_again: int = 0,
    train_gpus: str = "0",
    train_cpu: str = "1",
    train_memory: str = "1Gi",
) -> list[str]:
    """Resolve the configuration of a study and check it before anything expensive starts.

    Args:
        preset: name of a preset (demo, paper) or path of a YAML file.
        plan: file to write: the resolved configuration, which all later steps read.
        resolved: what step ``resolve_inputs`` returned: a cached plan is used again only while that stays the same.
            Empty: whatever is there now.
        train_gpus, train_cpu, train_memory: what steps that train ask of the cluster; only checked here.

    Returns:
        What is trained and attacked, slowest first, in parts for a pod each: the attackers without a model, the
        targets, and the reference models.

    Raises:
        ConfigError: a wrong preset, field or quantity, or what only the last steps would refuse
            (:func:`~flprivacy.study.plan.check_can_work`).
        ChangedObjectError: the preset's file changed since it was resolved.
    """
    del try_again  # part of the task's key on a cluster: its plan is another artifact, and so is all that is made of it
    check_resources(train_gpus=train_gpus, train_cpu=train_cpu, train_memory=train_memory)
    overrides = resolve_mapping(overrides, "overrides")
    study = load_resolved(preset, overrides, resolved).study
    check_can_work(study, preset=preset, trains=True)
    check_references(study)
    run = Plan(pipeline="study", command=repeat_command("study", preset, overrides), study=study)
    check_enough_sites(run, study.cohort.sites if study.cohort is not None else 0)
    run.write(plan)
    targets = sorted(study.targets, key=lambda name: (_SLOWEST.index(study.targets[name].topology), name))
    names = [WITHOUT_MODEL, *targets, *(job.name for job in reference_jobs(run))]
    return parts_of(names, without_baselines=len(names) - 1, store=store)
