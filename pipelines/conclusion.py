"""How every audit ends, from score tables to MLflow and the policy: the steps that the audit pipelines share."""

from dataclasses import dataclass
from typing import Any

from kfp import dsl

from components.check_change.component import check_change
from components.check_policy.component import check_policy
from components.compare_audits.component import compare_audits
from components.evaluate.component import evaluate
from components.notify.component import notify
from components.report_audit.component import report_audit
from pipelines.cluster import Nodes


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
    scores: Any,
    store: Any,
    fail_on_leak: Any,
    nodes: Nodes,
    generator_audit: Any = None,
    since: SinceLast | None = None,
) -> tuple[Any, Any]:
    """Evaluate, compare, report, file in MLflow, check the policy; return the audit and the report.

    Evaluating stays apart from the comparison and the report because it is cached and these are not; the policy stays
    apart because its failure is its answer.

    Args:
        scores: outputs of the attack steps, collected.
        generator_audit: what the checks of a generator found, where the pipeline may train one.
        since: what to compare with; None: nothing.
    """
    more = {} if generator_audit is None else {"generator_audit": generator_audit}
    audit = evaluate(plan=plan, cohort=cohort, target_scores=scores, store=store, **more)
    nodes.cpu(audit)
    result = audit.outputs["audit"]
    if since is not None:
        compared = compare_audits(audit=result, found=since.found)
        nodes.cpu(compared, hours=1, secrets=("objects", "mlflow")).set_caching_options(False)
        result = compared.outputs["compared"]
    reported = report_audit(audit=result, kfp_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER, store=store)
    nodes.cpu(reported, secrets=("objects", "mlflow")).set_caching_options(False)
    report = reported.outputs["report"]
    policy = check_policy(audit=result, report=report, fail_on_leak=fail_on_leak)
    # They read the store's secret to leave there, for step notify, why they failed.
    nodes.cpu(policy, hours=1, retry=False).set_caching_options(False)
    if since is not None:
        changed = check_change(change=result, fail_on_worse=since.fail_on_worse).after(policy)
        nodes.cpu(changed, hours=1, retry=False).set_caching_options(False)
    return result, report


def telling(pipeline: str, *, store: Any, nodes: Nodes) -> dsl.ExitHandler:
    """Return the group of a pipeline's steps after which the webhook, if there is one, is told how they ended."""
    told = notify(pipeline=pipeline, kfp_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER, store=store)
    nodes.cpu(told, hours=1, secrets=("objects", "webhook")).set_caching_options(False)
    return dsl.ExitHandler(told, name="audit")
