"""Component of step ``notify``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def notify(
    change: dsl.Input[dsl.Artifact],
    mlflow_run: str,
    kfp_run: str,
) -> bool: ...
