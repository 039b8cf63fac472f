"""File an audit in MLflow."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def log_mlflow(
    audit: dsl.Input[dsl.Artifact],
    report: dsl.Input[dsl.Artifact],
    kfp_run: str,
    store: str,
) -> str:
    """File the audit in MLflow: a run for the audit, a nested run for each target and attack.

    Args:
        audit: Everything found, as audit.json, or as dp_check.json.
        report: Folder of the report and its figures.
        kfp_run: Id of the pipeline run.
        store: Folder of finished artifacts; its spool keeps what cannot be filed now, and is filed too when it can.

    Returns:
        Id of the MLflow run; empty if no server could be reached (it is then kept in the spool).
    """
    from pathlib import Path

    from flprivacy.execution.run_step import run_step
    from flprivacy.steps.log_mlflow import log_mlflow as step

    return run_step(step, audit=Path(audit.path), report=Path(report.path), kfp_run=kfp_run, store=store)
