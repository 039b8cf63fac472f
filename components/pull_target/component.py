"""Component of step ``pull_target``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def pull_target(
    plan: dsl.Input[dsl.Artifact],
    target_name: str,
    target: dsl.Output[dsl.Model],
    store: str = "",
): ...
