"""Component of step ``report_audit``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def report_audit(
    audit: dsl.Input[dsl.Artifact],
    kfp_run: str,
    store: str,
    report: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    verdicts: dsl.Output[dsl.Markdown],
) -> str: ...
