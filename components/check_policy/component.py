"""Fail the pipeline if the policy says so, or if a target has no numbers."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def check_policy(
    audit: dsl.Input[dsl.Artifact],
    report: dsl.Input[dsl.Artifact],
    fail_on_leak: bool,
) -> int:
    """Fail the pipeline if a leak was found and the policy or the run asks for it, or if a target failed.

    Args:
        audit: Everything found, as audit.json.
        report: Folder of the report, shown where the run fails, too.
        fail_on_leak: Fail on a leak even if the policy file does not ask for it.

    Returns:
        How many target and attack pairs leak.
    """
    from pathlib import Path

    from flprivacy.execution.run_step import run_step
    from flprivacy.steps.check_policy import check_policy as step

    return run_step(step, audit=Path(audit.path), report=Path(report.path), fail_on_leak=fail_on_leak)
