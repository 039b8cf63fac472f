"""Component of step ``plan_audit``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def plan_audit(
    preset: str,
    overrides: dict,
    cohort: str,
    targets: dict,
    resolved: str,
    plan: dsl.Output[dsl.Artifact],
    scans: dsl.Output[dsl.Dataset],
    changed_only: bool = False,
    store: str = "",
    try_again: int = 0,
    train_gpus: str = "0",
    train_cpu: str = "1",
    train_memory: str = "1Gi",
) -> list: ...
