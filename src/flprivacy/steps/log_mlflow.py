"""Step ``log_mlflow``: file a result in MLflow; what cannot be filed now waits in the store's spool."""

import logging
from pathlib import Path

from flprivacy.core.errors import ConfigError, StorageError, TrackingError
from flprivacy.core.events import emit
from flprivacy.tracking import spool
from flprivacy.tracking.filing import Filing, filing_from_environment
from flprivacy.tracking.results import sync, sync_spool

LOGGER = logging.getLogger(__name__)


def log_mlflow(*, audit: Path, report: Path | None = None, kfp_run: str = "", store: str = "") -> str:
    """File an audit in MLflow: a run for the audit, a nested run for each target and attack.

    An audit is not lost for want of a server: it is kept in the store's spool, whole, and whoever logs next from the
    same store - this step of a later run, or ``flprivacy mlflow sync`` - logs it too, once.

    Args:
        audit: folder of ``audit.json``, its scores, and ``change.json`` where there is one; or of ``dp_check.json``
            or ``generator_audit.json``.
        report: folder of the report and its figures; None: that of the result, as for a check of private training.
        kfp_run: id of the pipeline run, for the tags.
        store: location of finished artifacts; its spool keeps what cannot be filed now, and is filed too when it can.

    Returns:
        Id of the MLflow run; empty if no server could be reached.
    """
    filing, report = filing_from_environment(kfp_run), report or audit
    try:
        logged = sync(audit=audit, report=report, filing=filing)
    except TrackingError as error:
        _keep(error, audit, report, filing, store)
        return ""
    word = "already logged" if logged.found else "logged"
    LOGGER.info("%s as run %s of experiment %s", word, logged.run_id, logged.experiment)
    place = f"experiment {logged.experiment} at {logged.tracking_uri}; the table of its runs: {logged.table_of_runs()}"
    emit("note", text=f"MLflow: {word} as run {logged.name} of {place}")
    try:
        for late in sync_spool(store):
            emit("note", text=f"MLflow: logged from the spool as run {late.name} of experiment {late.experiment}")
    except (ConfigError, TrackingError, StorageError) as error:
        LOGGER.warning("what is left in the spool stays there: %s", error)
    return logged.run_id


def _keep(error: TrackingError, audit: Path, report: Path, filing: Filing, store: str) -> None:
    """Put an audit into the spool and say so; if even that fails, say where it is."""
    try:
        spool.put(audit=audit, report=report, filing=filing, store=store)
        option = f" --store {store}" if store else ""
        advice = f"it is kept in {spool.spool_uri(store)}: log it later with: flprivacy mlflow sync{option}"
    except StorageError as worse:
        advice = f"nor kept in the store ({worse}): log it later with: flprivacy mlflow sync --audit {audit}"
        advice += f" --report {report}"
    LOGGER.warning("not logged: %s; %s", error, advice)
    emit("warning", message=f"MLflow: the audit was not logged ({error}); {advice}")
