"""Component of step ``resolve_inputs``."""

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def resolve_inputs(
    cohort: str,
    targets: dict,
    preset: str,
    store: str,
) -> str: ...
