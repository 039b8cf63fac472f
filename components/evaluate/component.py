"""Component of step ``evaluate``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def evaluate(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Input[dsl.Dataset],
    target_scores: dsl.Input[list[dsl.Dataset]],
    store: str,
    audit: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
    generator_audit: dsl.Input[dsl.Artifact] = None,
): ...
