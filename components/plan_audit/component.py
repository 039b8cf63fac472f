"""Resolve the configuration of an audit of given targets."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def plan_audit(
    preset: str,
    overrides: dict,
    preset_digest: str,
    cohort: str,
    targets: dict,
    plan: dsl.Output[dsl.Artifact],
    store: str = "",
) -> list:
    """Resolve the configuration of an audit and add an untrained baseline for every architecture.

    Args:
        preset: Name of a preset (demo, paper) or path of a YAML file; its attack and audit sections are used.
        overrides: Fields to replace, nested as in the preset.
        cohort: Folder of the cohort.
        targets: Name of each target and its folder, weights file or MLflow URI, with facts about it behind commas.
        preset_digest: SHA-256 of a YAML file given as preset, so that an edited file is read again; else empty.
        plan: The resolved configuration, which all later steps read.
        store: Folder of finished artifacts and checkpoints, which keeps what weights files were converted to.

    Returns:
        Names of the given targets.
    """
    from pathlib import Path

    from flprivacy.execution.run_step import run_step
    from flprivacy.steps import plan as steps

    return run_step(
        steps.plan_audit,
        preset=preset,
        overrides=overrides,
        preset_digest=preset_digest,
        cohort=cohort,
        targets=targets,
        out=Path(plan.path),
        store=store,
    )
