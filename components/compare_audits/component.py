"""Compare an audit with the last one of each target."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def compare_audits(
    audit: dsl.Input[dsl.Artifact],
    found: dsl.Input[dsl.Artifact],
    compared: dsl.Output[dsl.Artifact],
) -> str:
    """Compare an audit with the last one of each target, which MLflow has; never cached.

    Args:
        audit: Everything found now.
        found: What was published, beside its last audits.
        compared: The audit with what changed, as change.json.

    Returns:
        The gravest verdict, such as changed for the worse or no evidence of change.
    """
    from pathlib import Path

    from flprivacy.execution.run_step import run_step
    from flprivacy.steps.compare_audits import compare_audits as step

    change = run_step(step, audit=Path(audit.path), found=Path(found.path), out=Path(compared.path))
    compared.metadata["change"] = change.verdict
    return change.verdict
