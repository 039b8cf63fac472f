"""Component of step ``make_cohort``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def make_cohort(
    plan: dsl.Input[dsl.Artifact],
    store: str,
    cohort: dsl.Output[dsl.Dataset],
) -> str: ...
