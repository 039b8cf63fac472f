"""Pipeline ``re_audit``: audit what was published since the last audit, and say what changed."""

from kfp import dsl

from components.find_targets.component import find_targets
from components.plan_audit.component import plan_audit
from pipelines.cluster import KEPT, Nodes, on_nodes
from pipelines.conclusion import SinceLast, telling
from pipelines.descriptions import form_page
from pipelines.given_targets import audit_given

_OWN = {
    "targets_from": 'Where targets are published, as a JSON list: prefixes of target folders (a path, s3:// or gs:// URI), of which the newest of each name counts, by the number, version or date in the folder\'s name, or MLflow URIs. For example ["s3://models/published", "models:/chest-ct@production"].',
    "targets": "In addition, name and location of targets that stay in one place, as JSON.",
}


@dsl.pipeline(
    name="re-audit",
    description=form_page(
        "Audit the targets that are published now, unless they were audited before, and say what changed.",
        *("cohort", "preset", "overrides", "store", "fail_on_leak", "fail_on_worse", "try_again"),
        **_OWN,
    ),
    pipeline_config=KEPT,
)
@on_nodes
def re_audit(
    nodes: Nodes,
    cohort: str,
    targets_from: list = [],  # noqa: B006 - KFP takes the default as a constant
    targets: dict = {},  # noqa: B006
    preset: str = "demo",
    overrides: dict = {},  # noqa: B006
    store: str = "",
    fail_on_leak: bool = False,
    fail_on_worse: bool = False,
    try_again: int = 0,
):
    """Audit the targets that are published now, unless they were audited before, and say what changed."""
    with telling("re_audit", store=store, nodes=nodes):
        found = find_targets(
            cohort=cohort,
            targets=targets,
            targets_from=targets_from,
            preset=preset,
            overrides=overrides,
            store=store,
            kfp_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        )
        nodes.cpu(found, secrets=("objects", "mlflow")).set_caching_options(False)
        with dsl.If(found.outputs["Output"] == "yes", name="changed"):
            plan = plan_audit(
                preset=preset,
                overrides=overrides,
                cohort=cohort,
                targets=found.outputs["targets"],
                resolved=found.outputs["resolved"],
                changed_only=True,
                store=store,
                try_again=try_again,
                **nodes.asked(),
            )
            since = SinceLast(found=found.outputs["found"], fail_on_worse=fail_on_worse)
            audit_given(plan, store=store, fail_on_leak=fail_on_leak, nodes=nodes, since=since)
