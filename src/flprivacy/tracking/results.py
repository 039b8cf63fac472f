"""File a result in MLflow, or all results that wait in a store's spool."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from flprivacy.core.artifacts import AUDIT_FILE, CHANGE_FILE, CHECK_FILE, GENERATOR_AUDIT_FILE
from flprivacy.core.audit import Audit
from flprivacy.core.change import AuditChange
from flprivacy.core.dp_check import DpCheck
from flprivacy.core.errors import AuditError, ConfigError
from flprivacy.core.generator_audit import GeneratorAudit
from flprivacy.storage.uris import is_remote
from flprivacy.tracking import spool
from flprivacy.tracking.audits import log_audit
from flprivacy.tracking.checks import log_check, log_generator
from flprivacy.tracking.filing import Filing, LoggedRun
from flprivacy.tracking.history import check_filed
from flprivacy.tracking.server import URI_VARIABLE, is_on_this_machine, waiting_for_server

LOGGER = logging.getLogger(__name__)


@waiting_for_server
def sync(*, audit: Path, report: Path, filing: Filing | None = None) -> LoggedRun:
    """Log an audit, or a check of private training or of a generator, once; a second call finds the first one's run.

    AuditError if there is none in the folder.
    """
    digest = spool.result_digest(audit) if audit.is_dir() else ""
    if (audit / CHECK_FILE).exists():
        return log_check(DpCheck.read(audit / CHECK_FILE), digest=digest, folder=audit, filing=filing)
    if not (audit / AUDIT_FILE).exists() and (audit / GENERATOR_AUDIT_FILE).exists():
        found_of = GeneratorAudit.read(audit / GENERATOR_AUDIT_FILE)
        return log_generator(found_of, digest=digest, folder=audit, filing=filing)
    found = Audit.read(audit / AUDIT_FILE)
    change = AuditChange.read(audit / CHANGE_FILE) if (audit / CHANGE_FILE).exists() else None
    return log_audit(found, digest=digest, folder=audit, report=report, change=change, filing=filing)


def sync_spool(store: str = "") -> Iterator[LoggedRun]:
    """Log everything that waits in a store's spool, and yield each run; what MLflow gives back as it was is removed.

    Raises:
        ConfigError: something waits in a store that others share, and no server is named: a file on this machine
            would hide it from them.
        StorageError: the store cannot be read or written.
    """
    keys, place, server = spool.waiting(store), spool.spool_uri(store), os.environ.get(URI_VARIABLE, "")
    if keys and is_remote(place) and is_on_this_machine(server):
        raise ConfigError(
            f"{place}: {len(keys)} result(s) wait here for an MLflow server, and {URI_VARIABLE} is "
            f"{server or 'not set'}; set it to the server's address"
        )
    for key in keys:
        try:
            with spool.taken(key, store) as entry:
                if entry is None:  # another process has logged it meanwhile
                    continue
                logged = sync(audit=entry.audit, report=entry.report, filing=entry.filing)
                check_filed(logged.run_id, entry.audit)
        except (AuditError, spool.DamagedEntryError) as error:
            LOGGER.warning("%s in the spool is damaged and stays there: %s", key, error)
            continue
        spool.remove(key, store)
        yield logged
