"""Component of step ``plan_dp_check``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def plan_dp_check(
    preset: str,
    overrides: dict,
    resolved: str,
    plan: dsl.Output[dsl.Artifact],
    try_again: int = 0,
    train_gpus: str = "0",
    train_cpu: str = "1",
    train_memory: str = "1Gi",
) -> str: ...
