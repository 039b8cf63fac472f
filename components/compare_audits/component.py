"""Component of step ``compare_audits``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def compare_audits(
    audit: dsl.Input[dsl.Artifact],
    found: dsl.Input[dsl.Artifact],
    compared: dsl.Output[dsl.Artifact],
) -> str: ...
