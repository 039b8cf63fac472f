"""Step ``report_audit``: write the report of an audit, and file both in MLflow."""

import shutil
from pathlib import Path

from flprivacy.core.artifacts import AUDIT_FILE, CHANGE_FILE, REPORT_FILE, VERDICTS_FILE
from flprivacy.core.audit import Audit
from flprivacy.core.change import AuditChange
from flprivacy.execution.ends import leave_result
from flprivacy.execution.passing import Open
from flprivacy.reporting.stored import deliver_report
from flprivacy.steps.log_mlflow import log_mlflow
from flprivacy.steps.notify import audit_message, change_message


def report_audit(*, audit: Path, store: str, report: Open, page: Open, verdicts: Open, kfp_run: str = "") -> str:
    """Write the self-contained HTML report and its figures, file audit and report in MLflow, and note what to tell.

    A server that stays away does not lose the audit: see ``log_mlflow``. The note is for step ``notify``. The report is
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
        message = change_message(AuditChange.read(audit / CHANGE_FILE), mlflow_run=filed, kfp_run=kfp_run)
    else:
        message = audit_message(Audit.read(audit / AUDIT_FILE), mlflow_run=filed, kfp_run=kfp_run)
    leave_result(message, run=kfp_run, store=store)
    return filed
