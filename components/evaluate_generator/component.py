"""Component of step ``evaluate_generator``."""

from kfp import dsl

from components.pattern import TRAIN_IMAGE, step_component


@step_component(TRAIN_IMAGE)
def evaluate_generator(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Input[dsl.Dataset],
    generator: dsl.Input[dsl.Model],
    synthetic: dsl.Input[dsl.Dataset],
    store: str,
    generator_audit: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
): ...
