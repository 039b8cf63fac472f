"""File audits in MLflow, and find them again. The only importer of mlflow.

Layout: experiment = cohort; parent run = one audit; child run = target x attack (attribute and access). Keys of
ours start with ``audit.``; no patient identifier is in any of it. If the environment names a run of the
backend's own MLflow plugin (``MLFLOW_RUN_ID``), the parent nests under it, in that run's experiment.

.. code-block:: text

    server     which server, how long to wait for it, and errors that name it
    models     registered models and artifacts that targets are taken from
    attempts   runs that are filed once, whatever dies on the way
    place      the experiment, and the plugin's run above ours
    audits     what is filed of an audit
    checks     what is filed of a check of private training
    history    audits that were filed before
"""

import os

# Before mlflow is imported: an unreachable server must not hold a step for minutes of retries.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for every run that ends

from flprivacy.tracking.attempts import close_runs_of_dead_processes, close_stale_runs
from flprivacy.tracking.audits import log_audit
from flprivacy.tracking.checks import log_check
from flprivacy.tracking.history import FiledAudit, fetch_audit, last_audit, same_audit
from flprivacy.tracking.models import fetch_artifacts, model_identity, pinned_version
from flprivacy.tracking.place import Filing, LoggedRun, filing_from_environment

__all__ = [
    "FiledAudit",
    "Filing",
    "LoggedRun",
    "close_runs_of_dead_processes",
    "close_stale_runs",
    "fetch_artifacts",
    "fetch_audit",
    "filing_from_environment",
    "last_audit",
    "log_audit",
    "log_check",
    "model_identity",
    "pinned_version",
    "same_audit",
]
