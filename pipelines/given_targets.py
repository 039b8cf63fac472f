"""The audit of given targets, from their names to the report: what pipelines ``privacy_audit`` and ``re_audit`` share."""

from typing import Any

from kfp import dsl

from components.attack_attributes.component import attack_attributes
from components.attack_baselines.component import attack_baselines
from components.attack_membership.component import attack_membership
from components.attack_with_references.component import attack_with_references
from components.plan_baselines.component import plan_baselines
from components.plan_references.component import plan_references
from components.pull_cohort.component import pull_cohort
from components.pull_target.component import pull_target
from components.resolve_cohort.component import resolve_cohort
from components.train_reference.component import train_reference
from components.train_target.component import train_target
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

    Args:
        plan: step plan_audit, which names the cohort and the targets.
        store: location of finished artifacts and checkpoints.
        attempt: increment to bypass the cached results.
        fail_on_leak: whether a leak fails the run.
        nodes: where its steps run.
        since: what to compare with; None: nothing.
    """
    nodes.cpu(plan, secrets=("objects", "mlflow"))
    file = plan.outputs["plan"]
    cohort = _pulled_cohort(file, store, nodes)
    pixels = attack_baselines(plan=file, cohort=cohort, store=store, attempt=attempt)
    nodes.gpu(pixels)
    baselines = plan_baselines(plan=file)
    nodes.cpu(baselines, secrets=())
    with dsl.ParallelFor(baselines.output, parallelism=TARGETS_AT_ONCE) as baseline:
        made = train_target(plan=file, cohort=cohort, target_name=baseline, store=store, attempt=attempt)
        nodes.gpu(made, secrets=("objects", "mlflow"))
        baseline_scores = attacked(file, cohort, made, baseline, store, attempt, nodes)
    with dsl.ParallelFor(plan.outputs["Output"], parallelism=TARGETS_AT_ONCE) as name:
        pulled = pull_target(plan=file, target_name=name, store=store)
        nodes.cpu(pulled, secrets=("objects", "mlflow")).set_caching_options(False)
        target_scores = attacked(file, cohort, pulled, name, store, attempt, nodes)
        members = exposed(cohort, pulled, name, target_scores, attempt, nodes)
    scores = Scores(
        targets=dsl.Collected(target_scores),
        baselines=dsl.Collected(baseline_scores),
        pixels=pixels.outputs["scores"],
        membership=with_references(file, cohort, dsl.Collected(members), store, attempt, nodes),
    )
    return conclude(
        plan=file, cohort=cohort, scores=scores, store=store, fail_on_leak=fail_on_leak, nodes=nodes, since=since
    )


def _pulled_cohort(plan: Any, store: Any, nodes: Nodes) -> Any:
    found = resolve_cohort(plan=plan)
    nodes.cpu(found).set_caching_options(False)
    pulled = pull_cohort(plan=plan, resolved=found.output, store=store)
    nodes.cpu(pulled, hours=12)
    return pulled.outputs["cohort"]


def attacked(
    plan: Any, cohort: Any, target: dsl.PipelineTask, name: Any, store: Any, attempt: Any, nodes: Nodes
) -> Any:
    """Attack the target that a step gave, and return the scores."""
    attack = attack_attributes(
        plan=plan, cohort=cohort, target=target.outputs["target"], target_name=name, store=store, attempt=attempt
    )
    nodes.gpu(attack)
    return attack.outputs["scores"]


def exposed(cohort: Any, target: dsl.PipelineTask, name: Any, scores: Any, attempt: Any, nodes: Nodes) -> Any:
    """Attack the membership of the target that a step gave, from the answers among its scores; return the table."""
    attack = attack_membership(
        cohort=cohort, target=target.outputs["target"], target_name=name, scores=scores, attempt=attempt
    )
    nodes.cpu(attack)
    return attack.outputs["membership"]


def with_references(plan: Any, cohort: Any, attacked: Any, store: Any, attempt: Any, nodes: Nodes) -> Any:
    """Train the reference models of all targets, some at once, and attack with them; return the tables by target."""
    asked = plan_references(plan=plan)
    nodes.cpu(asked, secrets=())
    with dsl.ParallelFor(asked.output, parallelism=REFERENCES_AT_ONCE) as one:
        trained = train_reference(
            plan=plan, cohort=cohort, target_name=one.target, index=one.index, store=store, attempt=attempt
        )
        nodes.gpu(trained, hours=72)
    attack = attack_with_references(
        plan=plan, cohort=cohort, attacked=attacked, references=dsl.Collected(trained.outputs["reference"])
    )
    nodes.cpu(attack)
    return attack.outputs["membership"]
