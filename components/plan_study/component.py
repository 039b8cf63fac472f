"""Component of step ``plan_study``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def plan_study(
    preset: str,
    overrides: dict,
    preset_digest: str,
    plan: dsl.Output[dsl.Artifact],
) -> list: ...
