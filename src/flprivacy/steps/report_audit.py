"""Step ``report_audit``: write the report of an audit, file both in MLflow, and tell a webhook."""

import shutil
from pathlib import Path

from flprivacy.core.artifacts import CHANGE_FILE, REPORT_FILE, VERDICTS_FILE
from flprivacy.execution.passing import Open
from flprivacy.reporting.stored import deliver_report
from flprivacy.steps.log_mlflow import log_mlflow
from flprivacy.steps.notify import notify


def report_audit(*, audit: Path, store: str, report: Open, page: Open, verdicts: Open, kfp_run: str = "") -> str:
    """Write the self-contained HTML report and its figures, file audit and report in MLflow, tell what changed.

    Neither a server nor a webhook that stays away loses the audit: see ``log_mlflow`` and ``notify``. The report is
    taken from the store where it was written before, what is in MLflow already is not filed again; never cached.

    Args:
        audit: folder of ``audit.json``, its scores, and ``change.json`` where there is one.
        report: folder to write: ``report.html``, ``verdicts.md`` and ``figures/*.png``.
        page: file to write: the report alone, for the UI.
        verdicts: file to write: the first lines and a table of the verdicts with intervals, for the UI.
        kfp_run: id of the pipeline run, for the tags.

    Returns:
        Id of the MLflow run; empty if no server could be reached.
    """
    deliver_report(audit, report, store=store)
    shutil.copyfile(report / REPORT_FILE, page)
    shutil.copyfile(report / VERDICTS_FILE, verdicts)
    filed = log_mlflow(audit=audit, report=report, kfp_run=kfp_run, store=store)
    if (audit / CHANGE_FILE).exists():
        notify(change=audit, mlflow_run=filed, kfp_run=kfp_run)
    return filed
