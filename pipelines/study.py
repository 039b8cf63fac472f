"""Pipeline ``study``: make a phantom cohort and every target, attack them all, and audit."""

from typing import NamedTuple

from kfp import dsl

from components.attack_target.component import attack_target
from components.make_cohort.component import make_cohort
from components.plan_study.component import plan_study
from components.resolve_inputs.component import resolve_inputs
from flprivacy.study.plan import MOST_PARTS
from pipelines.cluster import HOURS, KEPT, Nodes, on_nodes
from pipelines.conclusion import conclude
from pipelines.descriptions import form_page
from pipelines.synthesis import synthesised

_OWN = {
    "preset": "quick (seconds, for first steps), demo (minutes on a laptop), membership (reference models, longer), "
    "synthesis (are synthetic scans a defence? an hour), paper (the reference study's scale, needs a GPU), or the path "
    "of a YAML file.",
    "overrides": 'Fields of the configuration to replace, as JSON, for example {"cohort": {"scans": 400}}.',
}


@dsl.pipeline(
    name="study",
    description=form_page(
        "Train targets in every topology on a phantom cohort and measure what they give away.",
        *("store", "fail_on_leak", "try_again"),
        **_OWN,
    ),
    pipeline_config=KEPT,
)
@on_nodes
def study(
    nodes: Nodes,
    preset: str = "demo",
    overrides: dict = {},  # noqa: B006 - KFP takes the default as a constant
    store: str = "",
    fail_on_leak: bool = False,
    try_again: int = 0,
) -> NamedTuple("Outputs", audit=dsl.Artifact, report=dsl.Artifact):
    """Train targets in every topology on a phantom cohort and measure what they give away."""
    now = resolve_inputs(cohort="", targets={}, preset=preset, store=store)
    nodes.cpu(now, hours=1).set_caching_options(False)
    plan = plan_study(
        preset=preset, overrides=overrides, resolved=now.output, store=store, try_again=try_again, **nodes.asked()
    )
    nodes.cpu(plan)
    cohort = make_cohort(plan=plan.outputs["plan"], store=store)
    nodes.cpu(cohort, hours=6)
    made = synthesised(plan.outputs["plan"], cohort.outputs["cohort"], store, nodes)
    with dsl.ParallelFor(plan.outputs["Output"], parallelism=MOST_PARTS) as names:
        attack = attack_target(
            plan=plan.outputs["plan"],
            cohort=cohort.outputs["cohort"],
            target_names=names,
            store=store,
            synthetic=made.synthetic,
        )
        nodes.gpu(attack, hours=HOURS)
    audit, report = conclude(
        plan=plan.outputs["plan"],
        cohort=cohort.outputs["cohort"],
        scores=dsl.Collected(attack.outputs["scores"]),
        store=store,
        fail_on_leak=fail_on_leak,
        nodes=nodes,
        generator_audit=made.generator_audit,
    )
    outputs = NamedTuple("Outputs", audit=dsl.Artifact, report=dsl.Artifact)  # noqa: UP014 - kfp reads its fields
    return outputs(audit=audit, report=report)
