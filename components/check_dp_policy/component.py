"""Fail the pipeline if a privacy claim is contradicted."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def check_dp_policy(
    check: dsl.Input[dsl.Artifact],
    fail_on_leak: bool,
) -> str:
    """Fail the pipeline if the canaries contradict the claim and the run asks for it.

    Args:
        check: Folder of dp_check.json.
        fail_on_leak: Fail where the claim is contradicted.

    Returns:
        The verdict.
    """
    from pathlib import Path

    from flprivacy.execution.run_step import run_step
    from flprivacy.steps.dp_check import check_dp_policy as step

    return run_step(step, check=Path(check.path), fail_on_leak=fail_on_leak)
