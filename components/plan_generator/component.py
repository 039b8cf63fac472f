"""Component of step ``plan_generator``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def plan_generator(
    preset: str,
    overrides: dict,
    cohort: str,
    resolved: str,
    plan: dsl.Output[dsl.Artifact],
    scans: dsl.Output[dsl.Dataset],
    store: str,
    try_again: int = 0,
    train_gpus: str = "0",
    train_cpu: str = "1",
    train_memory: str = "1Gi",
): ...
