"""Component of step ``plan_baselines``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def plan_baselines(
    plan: dsl.Input[dsl.Artifact],
) -> list: ...
