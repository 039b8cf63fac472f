"""Bring a given cohort to where the other steps read it."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def pull_cohort(
    location: str,
    cohort: dsl.Output[dsl.Dataset],
) -> str:
    """Bring a given cohort to where the other steps read it, and check it.

    Args:
        location: Folder of the cohort.
        cohort: The cohort: cohort.json, manifest.parquet and the volumes.

    Returns:
        The cohort's digest.
    """
    from pathlib import Path

    from flprivacy.steps.pull import pull_cohort as step
    from flprivacy.steps.run_step import run_step

    digest = run_step(step, cohort=location, out=Path(cohort.path))
    cohort.metadata["digest"] = digest
    return digest
