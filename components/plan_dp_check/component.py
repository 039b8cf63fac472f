"""Resolve the configuration of a check of private training."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def plan_dp_check(
    preset: str,
    overrides: dict,
    preset_digest: str,
    plan: dsl.Output[dsl.Artifact],
) -> str:
    """Resolve the configuration of a check of private training before anything expensive starts.

    Args:
        preset: Name of a preset (demo, paper) or path of a YAML file; its cohort and dp_check sections are used.
        overrides: Fields to replace, nested as in the preset.
        preset_digest: SHA-256 of a YAML file given as preset, so that an edited file is read again; else empty.
        plan: The resolved configuration, which all later steps read.

    Returns:
        Name of the target to train.
    """
    from pathlib import Path

    from flprivacy.execution.run_step import run_step
    from flprivacy.steps.dp_check import plan_dp_check as step

    return run_step(step, preset=preset, overrides=overrides, preset_digest=preset_digest, out=Path(plan.path))
