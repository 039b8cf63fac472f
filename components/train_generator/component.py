"""Component of step ``train_generator``."""

from kfp import dsl

from components.pattern import TRAIN_IMAGE, step_component


@step_component(TRAIN_IMAGE)
def train_generator(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Input[dsl.Dataset],
    store: str,
    generator: dsl.Output[dsl.Model],
): ...
