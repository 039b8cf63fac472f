"""Component of step ``check_change``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def check_change(
    change: dsl.Input[dsl.Artifact],
    fail_on_worse: bool,
) -> str: ...
