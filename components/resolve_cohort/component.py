"""Component of step ``resolve_cohort``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def resolve_cohort(
    plan: dsl.Input[dsl.Artifact],
) -> str: ...
