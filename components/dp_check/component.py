"""Component of step ``dp_check``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def dp_check(
    plan: dsl.Input[dsl.Artifact],
    target: dsl.Input[dsl.Model],
    store: str,
    check: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
): ...
