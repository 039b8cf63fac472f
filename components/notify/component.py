"""Tell a webhook what a re-audit found."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def notify(
    change: dsl.Input[dsl.Artifact],
    mlflow_run: str,
    kfp_run: str,
) -> bool:
    """Send the verdict as JSON to the webhook whose URL is in FLPRIVACY_WEBHOOK_URL; without one nobody is told.

    Args:
        change: Folder of change.json.
        mlflow_run: Id of the audit's run in MLflow; empty where nothing was audited.
        kfp_run: Id of the pipeline run.

    Returns:
        Whether the webhook took it. That it did not is a warning: the audit is finished and filed.
    """
    from pathlib import Path

    from flprivacy.execution.run_step import run_step
    from flprivacy.steps.notify import notify as step

    return run_step(step, change=Path(change.path), mlflow_run=mlflow_run, kfp_run=kfp_run)
