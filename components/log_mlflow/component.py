"""Component of step ``log_mlflow``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def log_mlflow(
    audit: dsl.Input[dsl.Artifact],
    kfp_run: str,
    store: str,
    report: dsl.Input[dsl.Artifact] = None,
) -> str: ...
