"""Component of step ``pull_cohort``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def pull_cohort(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Output[dsl.Dataset],
    resolved: str = "",
    store: str = "",
) -> str: ...
