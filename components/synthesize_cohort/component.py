"""Component of step ``synthesize_cohort``."""

from kfp import dsl

from components.pattern import TRAIN_IMAGE, step_component


@step_component(TRAIN_IMAGE)
def synthesize_cohort(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Input[dsl.Dataset],
    generator: dsl.Input[dsl.Model],
    store: str,
    synthetic: dsl.Output[dsl.Dataset],
): ...
