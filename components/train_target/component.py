"""Component of step ``train_target``."""

from kfp import dsl

from components.pattern import TRAIN_IMAGE, step_component


@step_component(TRAIN_IMAGE)
def train_target(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Input[dsl.Dataset],
    target_name: str,
    store: str,
    target: dsl.Output[dsl.Model],
    synthetic: dsl.Input[dsl.Dataset] = None,
): ...
