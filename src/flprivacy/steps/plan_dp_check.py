"""Step ``plan_dp_check``: resolve the configuration of a check of private training."""

from typing import Any

from flprivacy.auditing.config import AuditConfig
from flprivacy.core.errors import ConfigError
from flprivacy.execution.passing import Open
from flprivacy.execution.resources import check_resources
from flprivacy.presets import load_resolved
from flprivacy.storage.parameters import resolve_mapping
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan, repeat_command

TARGET_NAME = "dp-check"


def plan_dp_check(
    *,
    preset: str,
    overrides: dict[str, Any],
    plan: Open,
    resolved: str = "",
    try_again: int = 0,
    train_gpus: str = "0",
    train_cpu: str = "1",
    train_memory: str = "1Gi",
) -> str:
    """Resolve the configuration of a check of private training before anything expensive starts.

    Args:
        preset: name of a preset (demo, paper) or path of a YAML file; its cohort and dp_check sections are used.
        plan: file to write: the resolved configuration, which all later steps read.
        resolved: what step ``resolve_inputs`` returned: a cached plan is used again only while that stays the same.
            Empty: whatever is there now.
        train_gpus, train_cpu, train_memory: what steps that train ask of the cluster; only checked here.

    Returns:
        Name of the target to train.

    Raises:
        ConfigError: a wrong preset, field or quantity, or no cohort to make.
        ChangedObjectError: the preset's file changed since it was resolved.
    """
    del try_again  # part of the task's key on a cluster: its plan is another artifact, and so is all that is made of it
    check_resources(train_gpus=train_gpus, train_cpu=train_cpu, train_memory=train_memory)
    overrides = resolve_mapping(overrides, "overrides")
    found = load_resolved(preset, overrides, resolved)
    study, check = found.study, found.dp_check
    if study.cohort is None:
        raise ConfigError(f"preset {preset!r}: no cohort to make; add a 'cohort' section")
    trained = StudyConfig(
        name=study.name,
        cohort=study.cohort,
        protocol=study.protocol,
        targets={TARGET_NAME: check.target},
        audit=AuditConfig(confidence=check.confidence),
    )
    Plan(pipeline="dp_check", command=repeat_command("dp_check", preset, overrides), study=trained).write(plan)
    return TARGET_NAME
