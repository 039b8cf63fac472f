"""Resolve the configuration of a study."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def plan_study(
    preset: str,
    overrides: dict,
    preset_digest: str,
    plan: dsl.Output[dsl.Artifact],
) -> list:
    """Resolve the configuration of a study and check it before anything expensive starts.

    Args:
        preset: Name of a preset (demo, paper) or path of a YAML file.
        overrides: Fields to replace, nested as in the preset.
        preset_digest: SHA-256 of a YAML file given as preset, so that an edited file is read again; else empty.
        plan: The resolved configuration, which all later steps read.

    Returns:
        Names of the targets to train, slowest first.
    """
    from pathlib import Path

    from flprivacy.execution.run_step import run_step
    from flprivacy.steps import plan as steps

    return run_step(
        steps.plan_study, preset=preset, overrides=overrides, preset_digest=preset_digest, out=Path(plan.path)
    )
