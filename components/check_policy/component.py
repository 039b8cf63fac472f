"""Component of step ``check_policy``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def check_policy(
    audit: dsl.Input[dsl.Artifact],
    report: dsl.Input[dsl.Artifact],
    fail_on_leak: bool,
) -> int: ...
