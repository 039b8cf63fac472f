"""Synthetic scans, from a cohort to a cohort of them: the steps that every pipeline with a generator shares.

Where the plan asks for no generator, each leaves an empty folder.
"""

from typing import Any

from components.synthesize_cohort.component import synthesize_cohort
from components.train_generator.component import train_generator
from pipelines.cluster import Nodes


def synthesised(plan: Any, cohort: Any, store: Any, attempt: Any, nodes: Nodes) -> Any:
    """Train the plan's generator on a cohort, and return the synthetic cohort that it makes."""
    trained = train_generator(plan=plan, cohort=cohort, store=store, attempt=attempt)
    nodes.gpu(trained, hours=72)
    made = synthesize_cohort(
        plan=plan, cohort=cohort, generator=trained.outputs["generator"], store=store, attempt=attempt
    )
    nodes.gpu(made)
    return made.outputs["synthetic"]
