"""Pipeline ``study``: make a phantom cohort and every target, attack them all, and audit."""

from typing import NamedTuple

from kfp import dsl

from components.attack_attributes.component import attack_attributes
from components.attack_baselines.component import attack_baselines
from components.check_policy.component import check_policy
from components.evaluate.component import evaluate
from components.log_mlflow.component import log_mlflow
from components.make_cohort.component import make_cohort
from components.plan_study.component import plan_study
from components.train_target.component import train_target
from components.write_report.component import write_report


@dsl.pipeline(
    name="study", description="Train targets in every topology on a phantom cohort and measure what they give away."
)
def study(
    preset: str = "demo",
    overrides: dict = {},  # noqa: B006 - KFP takes the default as a constant
    preset_digest: str = "",
    store: str = "",
    fail_on_leak: bool = False,
) -> NamedTuple("Outputs", audit=dsl.Artifact, report=dsl.Artifact):
    """Train targets in every topology on a phantom cohort and measure what they give away.

    Args:
        preset: demo (minutes on a laptop), paper (the reference study's scale, GPU), or the path of a YAML file.
        overrides: Fields of the configuration to replace, as JSON, for example {"cohort": {"scans": 400}}.
        preset_digest: SHA-256 of the YAML file, if preset is one: a changed file is then read again. "flprivacy run" fills it in.
        store: Folder of finished artifacts and checkpoints: what is unchanged is not made again. Empty: the container's default.
        fail_on_leak: Let the run fail if any target leaks more than the policy tolerates.
    """
    plan = plan_study(preset=preset, overrides=overrides, preset_digest=preset_digest)
    cohort = make_cohort(plan=plan.outputs["plan"], store=store)
    baselines = attack_baselines(plan=plan.outputs["plan"], cohort=cohort.outputs["cohort"], store=store)
    with dsl.ParallelFor(plan.outputs["Output"]) as name:
        trained = train_target(
            plan=plan.outputs["plan"], cohort=cohort.outputs["cohort"], target_name=name, store=store
        )
        attack = attack_attributes(
            plan=plan.outputs["plan"],
            cohort=cohort.outputs["cohort"],
            target=trained.outputs["target"],
            target_name=name,
            store=store,
        )
    audit = evaluate(
        plan=plan.outputs["plan"],
        cohort=cohort.outputs["cohort"],
        target_scores=dsl.Collected(attack.outputs["scores"]),
        pixel_scores=baselines.outputs["scores"],
        store=store,
    )
    report = write_report(audit=audit.outputs["audit"], store=store)
    logged = log_mlflow(
        audit=audit.outputs["audit"], report=report.outputs["report"], kfp_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER
    )
    logged.set_caching_options(False)
    check_policy(audit=audit.outputs["audit"], fail_on_leak=fail_on_leak).after(logged).set_caching_options(False)
    outputs = NamedTuple("Outputs", audit=dsl.Artifact, report=dsl.Artifact)  # noqa: UP014 - kfp reads its fields
    return outputs(audit=audit.outputs["audit"], report=report.outputs["report"])
