"""Pipeline ``dp_check``: train privately with canaries, and see whether the training keeps its promise."""

from typing import NamedTuple

from kfp import dsl

from components.check_dp_policy.component import check_dp_policy
from components.dp_check.component import dp_check as check_claim
from components.make_cohort.component import make_cohort
from components.plan_dp_check.component import plan_dp_check
from components.train_target.component import train_target


# Not "dp-check": kfp would take the component of that name for the pipeline when it loads the compiled file.
@dsl.pipeline(
    name="dp-check-pipeline",
    description="Train privately with canaries and set what they prove against the claimed epsilon.",
)
def dp_check(
    preset: str = "demo",
    overrides: dict = {},  # noqa: B006 - KFP takes the default as a constant
    preset_digest: str = "",
    store: str = "",
    fail_on_leak: bool = False,
) -> NamedTuple("Outputs", check=dsl.Artifact):
    """Train privately with canaries and set what they prove against the claimed epsilon.

    Args:
        preset: Whose cohort and dp_check sections to use: demo, paper, or the path of a YAML file.
        overrides: Fields of the configuration to replace, as JSON, for example {"dp_check": {"target": {"epochs": 20}}}.
        preset_digest: SHA-256 of the YAML file, if preset is one: a changed file is then read again. "flprivacy run" fills it in.
        store: Folder of finished artifacts and checkpoints: what is unchanged is not made again. Empty: the container's default.
        fail_on_leak: Let the run fail if the canaries contradict the claimed epsilon.
    """
    plan = plan_dp_check(preset=preset, overrides=overrides, preset_digest=preset_digest)
    cohort = make_cohort(plan=plan.outputs["plan"], store=store)
    trained = train_target(
        plan=plan.outputs["plan"],
        cohort=cohort.outputs["cohort"],
        target_name=plan.outputs["Output"],
        store=store,
    )
    check = check_claim(plan=plan.outputs["plan"], target=trained.outputs["target"], store=store)
    check_dp_policy(check=check.outputs["check"], fail_on_leak=fail_on_leak).set_caching_options(False)
    outputs = NamedTuple("Outputs", check=dsl.Artifact)  # noqa: UP014 - kfp reads its fields
    return outputs(check=check.outputs["check"])
