"""Component of step ``attack_membership``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def attack_membership(
    cohort: dsl.Input[dsl.Dataset],
    target: dsl.Input[dsl.Model],
    target_name: str,
    scores: dsl.Input[dsl.Dataset],
    attempt: int,
    membership: dsl.Output[dsl.Dataset],
): ...
