"""Component of step ``check_generator``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def check_generator(
    generator_audit: dsl.Input[dsl.Artifact],
    generator: dsl.Input[dsl.Model],
    synthetic: dsl.Input[dsl.Dataset],
    fail_on_leak: bool,
) -> str: ...
