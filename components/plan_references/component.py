"""Component of step ``plan_references``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def plan_references(
    plan: dsl.Input[dsl.Artifact],
) -> list: ...
