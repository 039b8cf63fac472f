"""The HTML report and its figures."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def write_report(
    audit: dsl.Input[dsl.Artifact],
    store: str,
    report: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
):
    """Write the self-contained HTML report and its figures.

    Args:
        audit: Everything found, as audit.json.
        store: Folder of finished artifacts and checkpoints, keyed by digest.
        report: Folder of the report and its figures.
        page: The report alone, for the UI.
    """
    import shutil
    from pathlib import Path

    from flprivacy.core.artifacts import REPORT_FILE
    from flprivacy.execution.run_step import run_step
    from flprivacy.steps.write_report import write_report as step

    run_step(step, audit=Path(audit.path), store=store, out=Path(report.path))
    Path(page.path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(report.path) / REPORT_FILE, page.path)
