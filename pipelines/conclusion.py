"""How every audit ends, from score tables to MLflow and the policy: the steps that the audit pipelines share."""

from dataclasses import dataclass
from typing import Any

from kfp import dsl

from components.check_change.component import check_change
from components.check_policy.component import check_policy
from components.compare_audits.component import compare_audits
from components.evaluate.component import evaluate
from components.log_mlflow.component import log_mlflow
from components.notify.component import notify
from components.write_report.component import write_report
from pipelines.cluster import Nodes


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Outputs of the attack steps.

    Attributes:
        targets: of the attacks on targets, collected.
        pixels: of the attackers without a model.
        membership: of the attacks on the targets' membership.
        baselines: of the attacks on untrained models, collected, where these are not among the targets.
        generator: what the checks of a generator found, where the pipeline may train one.
    """

    targets: Any
    pixels: Any
    membership: Any
    baselines: Any = None
    generator: Any = None


@dataclass(frozen=True, kw_only=True)
class SinceLast:
    """What an audit is compared with.

    Attributes:
        found: output of step find_targets.
        fail_on_worse: whether the run fails if a target changed for the worse.
    """

    found: Any
    fail_on_worse: Any


def conclude(
    *,
    plan: Any,
    cohort: Any,
    scores: Scores,
    store: Any,
    fail_on_leak: Any,
    nodes: Nodes,
    since: SinceLast | None = None,
) -> tuple[Any, Any]:
    """Evaluate, compare, report, file in MLflow, tell, check the policy; return the audit and the report."""
    asked = {"baseline_scores": scores.baselines, "generator_audit": scores.generator}
    audit = evaluate(
        plan=plan,
        cohort=cohort,
        target_scores=scores.targets,
        pixel_scores=scores.pixels,
        membership=scores.membership,
        store=store,
        **{name: found for name, found in asked.items() if found is not None},
    )
    nodes.cpu(audit)
    result = audit.outputs["audit"]
    if since is not None:
        compared = compare_audits(audit=result, found=since.found)
        nodes.cpu(compared, hours=1, secrets=("objects", "mlflow")).set_caching_options(False)
        result = compared.outputs["compared"]
    report = write_report(audit=result, store=store)
    nodes.cpu(report)
    logged = log_mlflow(
        audit=result,
        report=report.outputs["report"],
        kfp_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        store=store,
    )
    nodes.cpu(logged, hours=1, secrets=("objects", "mlflow")).set_caching_options(False)
    last = logged
    if since is not None:
        last = tell(result, logged.output, nodes)
    policy = check_policy(audit=result, report=report.outputs["report"], fail_on_leak=fail_on_leak).after(last)
    nodes.cpu(policy, hours=1, secrets=(), retry=False).set_caching_options(False)
    if since is not None:
        changed = check_change(change=result, fail_on_worse=since.fail_on_worse).after(policy)
        nodes.cpu(changed, hours=1, secrets=(), retry=False).set_caching_options(False)
    return result, report.outputs["report"]


def tell(change: Any, mlflow_run: Any, nodes: Nodes) -> dsl.PipelineTask:
    """Tell the webhook, if there is one."""
    told = notify(change=change, mlflow_run=mlflow_run, kfp_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    nodes.cpu(told, hours=1, secrets=("webhook",)).set_caching_options(False)
    return told
