"""Step ``log_mlflow``: file an audit in MLflow."""

import logging
import os
from pathlib import Path

from flprivacy.core.audit import Audit
from flprivacy.core.digests import digest_file
from flprivacy.core.errors import TrackingError
from flprivacy.core.events import emit
from flprivacy.steps.files import AUDIT_FILE
from flprivacy.tracking import LoggedRun, log_audit

LOGGER = logging.getLogger(__name__)
RUN_VARIABLE = "FLPRIVACY_RUN"


def log_mlflow(*, audit: Path, report: Path, kfp_run: str = "") -> str:
    """Log the audit and its report; return the MLflow run's id, or an empty text if no server could be reached.

    An audit is not lost for want of a server: the step then says what was not logged and how to log it later.

    Args:
        audit: folder of ``audit.json``.
        report: folder of the report and its figures.
        kfp_run: id of the pipeline run, for the tags.
    """
    try:
        logged = sync(audit=audit, report=report, kfp_run=kfp_run)
    except TrackingError as error:
        advice = f"log it later with: flprivacy mlflow sync --audit {_visible(audit)} --report {_visible(report)}"
        LOGGER.warning("not logged: %s; %s", error, advice)
        emit("warning", message=f"MLflow: the audit was not logged ({error}); {advice}")
        return ""
    word = "already logged" if logged.found else "logged"
    LOGGER.info("%s as run %s of experiment %s", word, logged.run_id, logged.experiment)
    emit("note", text=f"MLflow: {word} as run {logged.name} of experiment {logged.experiment} at {logged.tracking_uri}")
    return logged.run_id


def sync(*, audit: Path, report: Path, kfp_run: str = "") -> LoggedRun:
    """Log the audit once; a second call with the same audit finds the first one's run.

    Raises:
        TrackingError: no server is named, or it cannot be reached.
    """
    digest = digest_file(audit / AUDIT_FILE)
    found = Audit.read(audit / AUDIT_FILE)
    return log_audit(found, digest=digest, report=report, audit_file=audit / AUDIT_FILE, kfp_run=kfp_run)


def _visible(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
