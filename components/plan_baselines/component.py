"""Name the untrained baselines of an audit's plan."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def plan_baselines(
    plan: dsl.Input[dsl.Artifact],
) -> list:
    """Name the untrained baselines of an audit's plan, one for every architecture among the targets.

    Args:
        plan: The resolved configuration.

    Returns:
        Names of the untrained baselines to make.
    """
    from pathlib import Path

    from flprivacy.execution.run_step import run_step
    from flprivacy.steps.plan import plan_baselines as step

    return run_step(step, plan=Path(plan.path))
