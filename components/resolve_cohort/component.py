"""Component of step ``resolve_cohort``."""

from typing import NamedTuple

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def resolve_cohort(
    location: str,
    plan: dsl.Input[dsl.Artifact],
) -> NamedTuple("Outputs", resolved=str, fractions=list, seeds=list): ...
