"""Synthetic scans, from a cohort to a cohort of them and to what the generator gives away: the steps that every pipeline
with a generator shares. Where the plan asks for no generator, each leaves an empty folder.
"""

from typing import Any, NamedTuple

from components.evaluate_generator.component import evaluate_generator
from components.synthesize_cohort.component import synthesize_cohort
from components.train_generator.component import train_generator
from pipelines.cluster import Nodes


class Synthesised(NamedTuple):
    """Outputs: the generator, the synthetic cohort, and what the checks of both found."""

    generator: Any
    synthetic: Any
    generator_audit: Any


def synthesised(plan: Any, cohort: Any, store: Any, nodes: Nodes) -> Synthesised:
    """Train the plan's generator on a cohort, make its synthetic cohort, and check it."""
    trained = train_generator(plan=plan, cohort=cohort, store=store)
    nodes.gpu(trained, hours=72)
    made = synthesize_cohort(plan=plan, cohort=cohort, generator=trained.outputs["generator"], store=store)
    nodes.gpu(made)
    checked = evaluate_generator(
        plan=plan,
        cohort=cohort,
        generator=trained.outputs["generator"],
        synthetic=made.outputs["synthetic"],
        store=store,
    )
    nodes.gpu(checked)
    return Synthesised(
        generator=trained.outputs["generator"],
        synthetic=made.outputs["synthetic"],
        generator_audit=checked.outputs["generator_audit"],
    )
