"""Component of step ``attack_with_references``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def attack_with_references(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Input[dsl.Dataset],
    attacked: dsl.Input[list[dsl.Dataset]],
    references: dsl.Input[list[dsl.Dataset]],
    membership: dsl.Output[dsl.Dataset],
): ...
