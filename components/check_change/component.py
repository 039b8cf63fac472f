"""Fail the pipeline if a target changed for the worse and the run asks for it."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def check_change(
    change: dsl.Input[dsl.Artifact],
    fail_on_worse: bool,
) -> str:
    """Fail the pipeline if a target changed for the worse and the run asks for it.

    Args:
        change: Folder of change.json.
        fail_on_worse: Whether to fail.

    Returns:
        The verdict.
    """
    from pathlib import Path

    from flprivacy.execution.run_step import run_step
    from flprivacy.steps.compare_audits import check_change as step

    return run_step(step, change=Path(change.path), fail_on_worse=fail_on_worse)
