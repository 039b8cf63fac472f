"""Component of step ``check_dp_policy``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def check_dp_policy(
    check: dsl.Input[dsl.Artifact],
    fail_on_leak: bool,
) -> str: ...
