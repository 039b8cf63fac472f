"""Component of step ``plan_audit``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def plan_audit(
    preset: str,
    overrides: dict,
    preset_digest: str,
    cohort: str,
    targets: dict,
    plan: dsl.Output[dsl.Artifact],
    store: str = "",
) -> list: ...
