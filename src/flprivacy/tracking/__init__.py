"""File audits in MLflow, and find them again. The only importer of mlflow.

Layout: experiment = cohort; parent run = one audit; child run = target x attack (attribute and access). Our keys
start with ``audit.``; no patient identifier is in any of it. If the environment names a run of the
backend's own MLflow plugin (``MLFLOW_RUN_ID``), the parent nests under it, in that run's experiment.

Every function uses the server or database that ``$MLFLOW_TRACKING_URI`` names, and raises ``TrackingError`` if none is
named, it cannot be reached, or it refuses.

.. code-block:: text

    server     the connection to the server, and errors that name it
    models     registered models and artifacts that targets are taken from
    attempts   runs that are filed once, even if a process or server dies on the way
    filing     the experiment and parent of a run, and the frame of filing a result
    audits     how an audit is filed
    checks     how a check of private training is filed
    history    audits that were filed before
    spool      results that could not be filed yet
    results    files a result, or all that wait in the spool
"""

import os

# Set before mlflow is imported: retries of an unreachable server must not hold up a step for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for every run that ends

from flprivacy.tracking.attempts import close_runs_of_dead_processes
from flprivacy.tracking.audits import log_audit
from flprivacy.tracking.checks import log_check
from flprivacy.tracking.filing import Filing, LoggedRun, filing_from_environment
from flprivacy.tracking.history import fetch_audit, last_audit, run_pages, same_audit
from flprivacy.tracking.models import fetch_artifacts, model_identity, pinned_version
from flprivacy.tracking.results import sync, sync_spool

__all__ = [
    "Filing",
    "LoggedRun",
    "close_runs_of_dead_processes",
    "fetch_artifacts",
    "fetch_audit",
    "filing_from_environment",
    "last_audit",
    "log_audit",
    "log_check",
    "model_identity",
    "pinned_version",
    "run_pages",
    "same_audit",
    "sync",
    "sync_spool",
]
