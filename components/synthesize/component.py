"""Component of step ``synthesize``."""

from kfp import dsl

from components.pattern import TRAIN_IMAGE, step_component


@step_component(TRAIN_IMAGE)
def synthesize(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Input[dsl.Dataset],
    store: str,
    generator: dsl.Output[dsl.Model],
    synthetic: dsl.Output[dsl.Dataset],
    generator_audit: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
): ...
