"""File audits in MLflow, and find them again. The only importer of mlflow.

Layout: experiment = cohort; parent run = one audit; child run = target x attack (attribute and access). Our keys
start with ``audit.``; no patient identifier is in any of it. If the environment names a run of the
backend's own MLflow plugin (``MLFLOW_RUN_ID``), the parent nests under it, in that run's experiment.

Every function uses the server or database that ``$MLFLOW_TRACKING_URI`` names, and raises ``TrackingError`` if none is
named, it cannot be reached, or it refuses.

.. code-block:: text

    server     the connection to the server, and errors that name it
    attempts   runs that are filed once, even if a process or server dies on the way
    filing     the experiment and parent of a run, and the frame of filing a result
    audits     how an audit is filed
    checks     how checks of private training and of generators are filed
    history    what is read back: earlier audits, models and artifacts that targets are taken from
    spool      results that could not be filed yet
    results    files a result, or all that wait in the spool
"""

import os

# Set before mlflow is imported: retries of an unreachable server must not hold up a step for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for every run that ends
