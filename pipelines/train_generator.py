"""Pipeline ``train_generator``: train a generator on a given cohort, make synthetic scans, and check both."""

from typing import NamedTuple

from kfp import dsl

from components.check_generator.component import check_generator
from components.evaluate_generator.component import evaluate_generator
from components.log_mlflow.component import log_mlflow
from components.plan_generator.component import plan_generator
from components.resolve_inputs.component import resolve_inputs
from components.synthesize_cohort.component import synthesize_cohort
from components.train_generator.component import train_generator as train_generator_step
from pipelines.cluster import KEPT, Nodes, on_nodes
from pipelines.descriptions import form_page

_OWN = {
    "cohort": "Folder of the cohort to train on, with held-out scans to check the generator by: a path, or a URI that starts with file://, s3:// or gs://.",
    "preset": "Preset whose generator and synthesis sections are used: demo, synthesis, or the path of a YAML file.",
    "overrides": 'Fields of the configuration to replace, as JSON, for example {"generator": {"steps": 4000}, "synthesis": {"scans": 500}}.',
    "fail_on_leak": "Fail the run if the generator copies patients.",
}


# Not "train-generator": kfp would take the component of that name for the pipeline when it loads the compiled file.
@dsl.pipeline(
    name="train-generator-pipeline",
    description=form_page(
        "Train a generator of synthetic scans on a cohort, make some, and measure what it gives away.",
        *("store", "try_again"),
        **_OWN,
    ),
    pipeline_config=KEPT,
)
@on_nodes
def train_generator(
    nodes: Nodes,
    cohort: str,
    preset: str = "demo",
    overrides: dict = {},  # noqa: B006 - KFP takes the default as a constant
    store: str = "",
    fail_on_leak: bool = False,
    try_again: int = 0,
) -> NamedTuple("Outputs", generator=dsl.Model, synthetic=dsl.Dataset, generator_audit=dsl.Artifact):
    """Train a generator of synthetic scans on a cohort, make some, and measure what it gives away."""
    now = resolve_inputs(cohort=cohort, targets={}, preset=preset, store=store)
    nodes.cpu(now, secrets=("objects", "mlflow")).set_caching_options(False)
    plan = plan_generator(
        preset=preset,
        overrides=overrides,
        cohort=cohort,
        resolved=now.output,
        store=store,
        try_again=try_again,
        **nodes.asked(),
    )
    nodes.cpu(plan, hours=12)
    shared = {"plan": plan.outputs["plan"], "cohort": plan.outputs["scans"], "store": store}
    trained = train_generator_step(**shared)
    nodes.gpu(trained, hours=72)
    generator = trained.outputs["generator"]
    made = synthesize_cohort(generator=generator, **shared)
    nodes.gpu(made)
    synthetic = made.outputs["synthetic"]
    checked = evaluate_generator(generator=generator, synthetic=synthetic, **shared)
    nodes.gpu(checked)
    found = checked.outputs["generator_audit"]
    # The report lies in the folder of what was found: the backend refuses one artifact at two inputs of a task.
    logged = log_mlflow(audit=found, kfp_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER, store=store)
    nodes.cpu(logged, hours=1, secrets=("objects", "mlflow")).set_caching_options(False)
    policy = check_generator(
        generator_audit=found, generator=generator, synthetic=synthetic, fail_on_leak=fail_on_leak
    ).after(logged)
    nodes.cpu(policy, hours=1, secrets=(), retry=False).set_caching_options(False)
    outputs = NamedTuple("Outputs", generator=dsl.Model, synthetic=dsl.Dataset, generator_audit=dsl.Artifact)  # noqa: UP014 - kfp reads its fields
    return outputs(generator=generator, synthetic=synthetic, generator_audit=found)
