"""Component of step ``write_report``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def write_report(
    audit: dsl.Input[dsl.Artifact],
    store: str,
    report: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
): ...
