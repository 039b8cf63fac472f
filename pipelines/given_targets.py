"""The audit of given targets, from their names to the report: what pipelines ``privacy_audit`` and ``re_audit`` share."""

from typing import Any

from kfp import dsl

from components.attack_baselines.component import attack_baselines
from components.attack_target.component import attack_target
from components.plan_references.component import plan_references
from components.train_reference.component import train_reference
from pipelines.cluster import REFERENCES_AT_ONCE, TARGETS_AT_ONCE, Nodes
from pipelines.conclusion import Scores, SinceLast, conclude


def audit_given(
    plan: dsl.PipelineTask,
    *,
    store: Any,
    attempt: Any,
    fail_on_leak: Any,
    nodes: Nodes,
    since: SinceLast | None = None,
) -> tuple[Any, Any]:
    """Attack given targets and their baselines, evaluate and report; return the audit and the report.

    A target is brought, attacked and its members told in one step: a pod costs more than any of the small ones of
    these takes. The price is that a node with a GPU waits while weights are fetched.

    Args:
        plan: step plan_audit, which names the cohort and the targets.
        store: location of finished artifacts and checkpoints.
        attempt: increment to bypass the cached results.
        fail_on_leak: whether a leak fails the run.
        nodes: where its steps run.
        since: what to compare with; None: nothing.
    """
    nodes.cpu(plan, hours=12, secrets=("objects", "mlflow"))
    file, cohort = plan.outputs["plan"], plan.outputs["scans"]
    pixels = attack_baselines(plan=file, cohort=cohort, store=store, attempt=attempt)
    nodes.gpu(pixels)
    with dsl.ParallelFor(plan.outputs["Output"], parallelism=TARGETS_AT_ONCE) as name:
        attack = attack_target(plan=file, cohort=cohort, target_name=name, store=store, attempt=attempt)
        nodes.gpu(attack, secrets=("objects", "mlflow"))
    scores = Scores(
        targets=dsl.Collected(attack.outputs["scores"]),
        pixels=pixels.outputs["scores"],
        references=trained_references(file, cohort, store, attempt, nodes),
    )
    return conclude(
        plan=file, cohort=cohort, scores=scores, store=store, fail_on_leak=fail_on_leak, nodes=nodes, since=since
    )


def trained_references(plan: Any, cohort: Any, store: Any, attempt: Any, nodes: Nodes) -> Any:
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
            attempt=attempt,
        )
        nodes.gpu(trained, hours=72)
    return dsl.Collected(trained.outputs["reference"])
