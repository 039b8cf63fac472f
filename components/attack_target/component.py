"""Component of step ``attack_target``, which it does on several targets, one after another."""

from kfp import dsl

from components.pattern import TRAIN_IMAGE, step_component


@step_component(TRAIN_IMAGE)
def attack_target(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Input[dsl.Dataset],
    target_names: str,
    store: str,
    scores: dsl.Output[dsl.Dataset],
    synthetic: dsl.Input[dsl.Dataset] = None,
): ...
