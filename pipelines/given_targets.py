"""The audit of given targets, from their names to the report: what pipelines ``privacy_audit`` and ``re_audit`` share."""

from dataclasses import dataclass
from typing import Any

from kfp import dsl

from components.attack_attributes.component import attack_attributes
from components.attack_baselines.component import attack_baselines
from components.plan_audit.component import plan_audit
from components.plan_baselines.component import plan_baselines
from components.pull_cohort.component import pull_cohort
from components.pull_target.component import pull_target
from components.resolve_cohort.component import resolve_cohort
from components.train_target.component import train_target
from pipelines.cluster import TARGETS_AT_ONCE, Nodes
from pipelines.conclusion import Scores, SinceLast, conclude


@dataclass(frozen=True, kw_only=True)
class AuditInputs:
    """What to audit and how: parameters or outputs of a pipeline, as its docstring describes them."""

    cohort: Any
    targets: Any
    preset: Any
    overrides: Any
    preset_digest: Any
    store: Any
    attempt: Any
    fail_on_leak: Any


def audit_given(asked: AuditInputs, nodes: Nodes, *, since: SinceLast | None = None) -> tuple[Any, Any]:
    """Attack given targets and their baselines, evaluate and report; return the audit and the report.

    Args:
        asked: what to audit.
        nodes: where its steps run.
        since: what to compare with; None: nothing.
    """
    plan = plan_audit(
        preset=asked.preset,
        overrides=asked.overrides,
        preset_digest=asked.preset_digest,
        cohort=asked.cohort,
        targets=asked.targets,
        store=asked.store,
    )
    nodes.cpu(plan, secrets=("objects", "mlflow"))
    baselines = plan_baselines(plan=plan.outputs["plan"])
    nodes.cpu(baselines, secrets=())
    found = resolve_cohort(location=asked.cohort, plan=plan.outputs["plan"])
    nodes.cpu(found).set_caching_options(False)
    pulled = pull_cohort(
        location=asked.cohort,
        fractions=found.outputs["fractions"],
        seeds=found.outputs["seeds"],
        resolved=found.outputs["resolved"],
        store=asked.store,
    )
    nodes.cpu(pulled, hours=12)
    pixels = attack_baselines(plan=plan.outputs["plan"], cohort=pulled.outputs["cohort"], store=asked.store)
    nodes.gpu(pixels)
    with dsl.ParallelFor(baselines.output, parallelism=TARGETS_AT_ONCE) as baseline:
        untrained = train_target(
            plan=plan.outputs["plan"],
            cohort=pulled.outputs["cohort"],
            target_name=baseline,
            store=asked.store,
            attempt=asked.attempt,
        )
        nodes.gpu(untrained, secrets=("objects", "mlflow"))
        baseline_attack = attack_attributes(
            plan=plan.outputs["plan"],
            cohort=pulled.outputs["cohort"],
            target=untrained.outputs["target"],
            target_name=baseline,
            store=asked.store,
            attempt=asked.attempt,
        )
        nodes.gpu(baseline_attack)
    with dsl.ParallelFor(plan.outputs["Output"], parallelism=TARGETS_AT_ONCE) as name:
        target = pull_target(targets=asked.targets, target_name=name, store=asked.store)
        nodes.cpu(target, secrets=("objects", "mlflow")).set_caching_options(False)
        attack = attack_attributes(
            plan=plan.outputs["plan"],
            cohort=pulled.outputs["cohort"],
            target=target.outputs["target"],
            target_name=name,
            store=asked.store,
            attempt=asked.attempt,
        )
        nodes.gpu(attack)
    scores = Scores(
        targets=dsl.Collected(attack.outputs["scores"]),
        baselines=dsl.Collected(baseline_attack.outputs["scores"]),
        pixels=pixels.outputs["scores"],
    )
    return conclude(
        plan=plan.outputs["plan"],
        cohort=pulled.outputs["cohort"],
        scores=scores,
        store=asked.store,
        fail_on_leak=asked.fail_on_leak,
        nodes=nodes,
        since=since,
    )
