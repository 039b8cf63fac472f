"""Component of step ``notify``."""

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def notify(
    pipeline: str,
    kfp_run: str,
    store: str,
) -> bool: ...
