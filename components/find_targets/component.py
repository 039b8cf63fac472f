"""Component of step ``find_targets``."""

from typing import NamedTuple

from kfp import dsl

from components.pattern import AUDIT_IMAGE, step_component


@step_component(AUDIT_IMAGE)
def find_targets(
    cohort: str,
    targets: dict,
    targets_from: list,
    preset: str,
    overrides: dict,
    store: str,
    kfp_run: str,
    found: dsl.Output[dsl.Artifact],
) -> NamedTuple("Outputs", Output=str, targets=dict, resolved=str): ...
