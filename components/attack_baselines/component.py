"""Component of step ``attack_baselines``."""

from kfp import dsl

from components.pattern import TRAIN_IMAGE, step_component


@step_component(TRAIN_IMAGE)
def attack_baselines(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Input[dsl.Dataset],
    store: str,
    scores: dsl.Output[dsl.Dataset],
): ...
