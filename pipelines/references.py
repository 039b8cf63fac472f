"""The reference models of a study: named by a step, trained by another."""

from typing import Any

from kfp import dsl

from components.plan_references.component import plan_references
from components.train_reference.component import train_reference
from pipelines.cluster import REFERENCES_AT_ONCE, Nodes


def trained_references(plan: Any, cohort: Any, store: Any, nodes: Nodes) -> Any:
    """Train the reference models of all targets, some at once; return what they answer, collected."""
    wanted = plan_references(plan=plan)
    nodes.cpu(wanted, hours=1, secrets=())
    with dsl.ParallelFor(wanted.output, parallelism=REFERENCES_AT_ONCE) as one:
        trained = train_reference(
            plan=plan,
            cohort=cohort,
            target_name=one.target,
            index=one.index,
            drawn=one.drawn,
            store=store,
        )
        nodes.gpu(trained, hours=72)
    return dsl.Collected(trained.outputs["reference"])
