"""The audit of given targets, from their names to the report: what pipelines ``privacy_audit`` and ``re_audit`` share."""

from typing import Any

from kfp import dsl

from components.attack_target.component import attack_target
from flprivacy.study.plan import MOST_PARTS
from pipelines.cluster import HOURS, Nodes
from pipelines.conclusion import SinceLast, conclude


def audit_given(
    plan: dsl.PipelineTask,
    *,
    store: Any,
    fail_on_leak: Any,
    nodes: Nodes,
    since: SinceLast | None = None,
) -> tuple[Any, Any]:
    """Attack given targets and their baselines, evaluate and report; return the audit and the report.

    A target is brought, attacked and its members told in one step: a pod costs more than any of the small ones of
    these takes. The price is that a node with a GPU waits while weights are fetched. Pods share the targets, so that
    what Kubernetes stores of a run does not grow with them. The same loop trains the reference models that the plan
    asks for, as most audits have none.

    Args:
        plan: step plan_audit, which names the cohort, the targets and their reference models.
        store: location of finished artifacts and checkpoints.
        fail_on_leak: whether a leak fails the run.
        nodes: where its steps run.
        since: what to compare with; None: nothing.
    """
    nodes.cpu(plan, hours=12, secrets=("objects", "mlflow"))
    file, cohort = plan.outputs["plan"], plan.outputs["scans"]
    with dsl.ParallelFor(plan.outputs["Output"], parallelism=MOST_PARTS) as names:
        attack = attack_target(plan=file, cohort=cohort, target_names=names, store=store)
        nodes.gpu(attack, hours=HOURS, secrets=("objects", "mlflow"))
    scores = dsl.Collected(attack.outputs["scores"])
    return conclude(
        plan=file, cohort=cohort, scores=scores, store=store, fail_on_leak=fail_on_leak, nodes=nodes, since=since
    )
