"""Component of step ``plan_study``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def plan_study(
    preset: str,
    overrides: dict,
    resolved: str,
    plan: dsl.Output[dsl.Artifact],
    store: str = "",
    try_again: int = 0,
    train_gpus: str = "0",
    train_cpu: str = "1",
    train_memory: str = "1Gi",
) -> list: ...
