"""Component of step ``train_reference``."""

from kfp import dsl

from components.pattern import TRAIN_IMAGE, step_component


@step_component(TRAIN_IMAGE)
def train_reference(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Input[dsl.Dataset],
    target_name: str,
    index: int,
    drawn: str,
    store: str,
    reference: dsl.Output[dsl.Dataset],
): ...
