"""Pipeline ``privacy_audit``: attack given targets with a given cohort, and audit."""

from kfp import dsl

from components.plan_audit.component import plan_audit
from components.resolve_inputs.component import resolve_inputs
from pipelines.cluster import KEPT, Nodes, on_nodes
from pipelines.conclusion import telling
from pipelines.descriptions import form_page
from pipelines.given_targets import audit_given


@dsl.pipeline(
    name="privacy-audit",
    description=form_page(
        "Measure what given models give away about the people they were trained on.",
        *("cohort", "targets", "preset", "overrides", "store", "fail_on_leak", "try_again"),
    ),
    pipeline_config=KEPT,
)
@on_nodes
def privacy_audit(
    nodes: Nodes,
    cohort: str,
    targets: dict,
    preset: str = "demo",
    overrides: dict = {},  # noqa: B006 - KFP takes the default as a constant
    store: str = "",
    fail_on_leak: bool = False,
    try_again: int = 0,
):
    """Measure what given models give away about the people they were trained on."""
    with telling("privacy_audit", store=store, nodes=nodes):
        now = resolve_inputs(cohort=cohort, targets=targets, preset=preset, store=store)
        nodes.cpu(now, hours=1, secrets=("objects", "mlflow")).set_caching_options(False)
        plan = plan_audit(
            preset=preset,
            overrides=overrides,
            cohort=cohort,
            targets=targets,
            resolved=now.output,
            store=store,
            try_again=try_again,
            **nodes.asked(),
        )
        audit_given(plan, store=store, fail_on_leak=fail_on_leak, nodes=nodes)
