"""The synthetic scans of a study, and what their generator gives away: one step, which has nothing to do in a study
without a generator.
"""

from typing import Any, NamedTuple

from components.synthesize.component import synthesize
from pipelines.cluster import Nodes


class Synthesised(NamedTuple):
    """Outputs: the synthetic cohort, and what the checks of the generator found; both empty without a generator."""

    synthetic: Any
    generator_audit: Any


def synthesised(plan: Any, cohort: Any, store: Any, nodes: Nodes) -> Synthesised:
    """Train the plan's generator on a cohort, if there is one, make its synthetic cohort, and check both."""
    made = synthesize(plan=plan, cohort=cohort, store=store)
    nodes.gpu(made, hours=72)
    return Synthesised(synthetic=made.outputs["synthetic"], generator_audit=made.outputs["generator_audit"])
