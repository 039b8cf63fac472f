"""Generate the phantom cohort of a plan."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def make_cohort(
    plan: dsl.Input[dsl.Artifact],
    store: str,
    cohort: dsl.Output[dsl.Dataset],
) -> str:
    """Generate the phantom chest-CT cohort of a plan.

    Args:
        plan: The run's resolved configuration.
        store: Folder of finished artifacts and checkpoints, keyed by digest.
        cohort: The cohort: cohort.json, manifest.parquet and the volumes.

    Returns:
        The cohort's digest.
    """
    from pathlib import Path

    from flprivacy.execution.run_step import run_step
    from flprivacy.steps.make_cohort import make_cohort as step

    digest = run_step(step, plan=Path(plan.path), store=store, out=Path(cohort.path))
    cohort.metadata["digest"] = digest
    return digest
