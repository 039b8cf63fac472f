"""Component of step ``pull_cohort``."""

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def pull_cohort(
    location: str,
    cohort: dsl.Output[dsl.Dataset],
    fractions: list = [],  # noqa: B006 - KFP takes defaults as constants
    seeds: list = [],  # noqa: B006
    splits: list = ["train", "test"],  # noqa: B006
    resolved: str = "",
    store: str = "",
) -> str: ...
