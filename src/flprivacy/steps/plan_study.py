"""Step ``plan_study``: resolve the configuration of a study."""

from typing import Any

from flprivacy.core.vocabulary import PRETRAINED
from flprivacy.execution.passing import Open
from flprivacy.execution.resources import check_resources
from flprivacy.presets import load_preset
from flprivacy.storage.parameters import resolve_mapping
from flprivacy.study.plan import Plan, check_can_work, repeat_command
from flprivacy.study.references import check_enough_sites, check_references

# With their attacks, two at a time. Many models take long to attack, so untrained ones are not left to the end.
_SLOWEST = ("siloed", "federated", "untrained", "central", PRETRAINED)


def plan_study(
    *,
    preset: str,
    overrides: dict[str, Any],
    plan: Open,
    preset_digest: str = "",
    gpu_count: str = "0",
    train_cpu: str = "1",
    train_memory: str = "1Gi",
) -> list[str]:
    """Resolve the configuration of a study and check it before anything expensive starts.

    Args:
        preset: name of a preset (demo, paper) or path of a YAML file.
        plan: file to write: the resolved configuration, which all later steps read.
        gpu_count, train_cpu, train_memory: what steps that train ask of the cluster; only checked here.

    Returns:
        Names of the targets to train, slowest first.

    Raises:
        ConfigError: a wrong preset, field or quantity, or what only the last steps would refuse
            (:func:`~flprivacy.study.plan.check_can_work`).
    """
    check_resources(gpu_count=gpu_count, train_cpu=train_cpu, train_memory=train_memory)
    overrides = resolve_mapping(overrides, "overrides")
    study = load_preset(preset, overrides, digest=preset_digest).study
    check_can_work(study, preset=preset, trains=True)
    check_references(study)
    run = Plan(pipeline="study", command=repeat_command("study", preset, overrides), study=study)
    check_enough_sites(run, study.cohort.sites if study.cohort is not None else 0)
    run.write(plan)
    return sorted(study.targets, key=lambda name: (_SLOWEST.index(study.targets[name].topology), name))
