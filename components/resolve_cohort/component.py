"""Say what an audit will pull: which cohort is behind a location now, and which exposures its plan asks for."""

from typing import NamedTuple

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def resolve_cohort(
    location: str,
    plan: dsl.Input[dsl.Artifact],
) -> NamedTuple("Outputs", resolved=str, fractions=list, seeds=list):
    """Say what an audit will pull: which cohort is behind a location now, without reading a volume; never cached.

    Args:
        location: Folder of the cohort: a path, or a URI that starts with file://, s3:// or gs://.
        plan: The run's resolved configuration.

    Returns:
        resolved: A digest that changes whenever the metadata, the manifest or any volume file there does.
        fractions: Exposed fractions of the plan's attacks.
        seeds: Attacker seeds of the plan's attacks.
    """
    from pathlib import Path
    from typing import NamedTuple as Tuple

    from flprivacy.execution.run_step import run_step
    from flprivacy.steps.resolve import resolve_cohort as step
    from flprivacy.study.plan import Plan

    resolved, attack = run_step(step, cohort=location), Plan.read(Path(plan.path)).study.attack
    outputs = Tuple("Outputs", [("resolved", str), ("fractions", list), ("seeds", list)])  # noqa: UP014
    return outputs(resolved, list(attack.fractions), list(attack.seeds))
