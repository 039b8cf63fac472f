"""Component of step ``attack_target``."""

from kfp import dsl

from components.pattern import TRAIN_IMAGE, step_component


@step_component(TRAIN_IMAGE)
def attack_target(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Input[dsl.Dataset],
    target_name: str,
    store: str,
    scores: dsl.Output[dsl.Dataset],
    target: dsl.Input[dsl.Model] = None,
): ...
