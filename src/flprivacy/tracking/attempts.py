"""Runs that are filed once, even if a process or server dies on the way.

MLflow has no transactions and nothing unique but names, so filing something is an *attempt*: a run of its own that
holds everything and is set to FINISHED last. The run of a digest that was finished first counts. Whoever
finishes an attempt looks at all of them: those finished later are deleted with their children, and so are those that
failed or whose process is gone. Nobody deletes the one finished first, so no matter how many file the same thing at
once, and which of them or of the servers die, exactly one is left as soon as one has succeeded.
"""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from flprivacy.tracking.server import all_experiments, connected, every

LOGGER = logging.getLogger(__name__)

DIGEST_TAG = "audit.digest"
OWNER_TAG = "audit.owner"
_PARENT_TAG = "mlflow.parentRunId"
_FINISHED = "FINISHED"
_OPEN = ("RUNNING", "SCHEDULED")
_PAGE = 1000


def file_once(
    client: MlflowClient,
    experiment: str,
    *,
    name: str,
    digest: str,
    tags: Mapping[str, str],
    parent: str | None,
    fill: Callable[[str], None],
) -> tuple[str, bool]:
    """Return the id of the one finished run with the digest of what is filed, and whether it was already there.

    A new run gets the name and tags, nests under the run ``parent``, and ``fill`` logs everything into it by its id.
    What MLflow raises is passed on.
    """
    earlier = settle(client, digest)
    if earlier is not None:
        return earlier, True
    with open_run(client, experiment, name, {**tags, DIGEST_TAG: digest}, parent=parent) as run:
        fill(run)
    kept = settle(client, digest, done=owner())
    return kept or run, kept not in (None, run)


def settle(client: MlflowClient, digest: str, *, done: str = "") -> str | None:
    """Return the id of the run that counts for a digest, None if none is finished; delete what it supersedes.

    ``done`` is an owner with no work in progress. What is left open in its name are runs that were created twice,
    because the answer to the first request was lost.
    """
    attempts = _search(client, all_experiments(client), f"tags.`{DIGEST_TAG}` = '{digest}'")
    finished = sorted((run.info.end_time, run.info.run_id) for run in attempts if run.info.status == _FINISHED)
    if not finished:
        return None
    kept = str(finished[0][1])
    for run in attempts:
        named = run.data.tags.get(OWNER_TAG, "")
        open_elsewhere = run.info.status in _OPEN and named != done and owner_lives(named)
        if run.info.run_id == kept:
            _delete(client, [child for child in _children(client, run) if child.info.status != _FINISHED])
        elif not open_elsewhere:
            _delete(client, [*_children(client, run), run])
    return kept


def _children(client: MlflowClient, run: Run) -> list[Run]:
    return _search(client, [run.info.experiment_id], f"tags.`{_PARENT_TAG}` = '{run.info.run_id}'")


def _delete(client: MlflowClient, runs: Iterable[Run]) -> None:
    for one in runs:
        with contextlib.suppress(MlflowException):  # another process is deleting it too
            client.delete_run(one.info.run_id)


def _search(client: MlflowClient, experiments: Sequence[str], query: str) -> list[Run]:
    if not experiments:
        return []
    return every(lambda token: client.search_runs(list(experiments), query, max_results=_PAGE, page_token=token))


@contextmanager
def open_run(
    client: MlflowClient, experiment: str, name: str, tags: Mapping[str, str], *, parent: str | None
) -> Iterator[str]:
    """Yield the id of a new run that ends FINISHED, or FAILED on any error, or KILLED on an interrupt."""
    nested = {_PARENT_TAG: parent} if parent else {}
    run = client.create_run(experiment, tags={**tags, **nested, OWNER_TAG: owner()}, run_name=name)
    status = "KILLED"
    try:
        yield run.info.run_id
        status = _FINISHED
    except Exception:
        status = "FAILED"
        raise
    finally:
        if status == _FINISHED:
            client.set_terminated(run.info.run_id, status=status)
        else:
            with contextlib.suppress(MlflowException):  # the server that failed us; the first error says why
                client.set_terminated(run.info.run_id, status=status)


def owner() -> str:
    """Return the name of this process on this machine."""
    return f"{socket.gethostname()}:{os.getpid()}"


def owner_lives(named: str) -> bool:
    """Say whether the process of an owner may still be working on a run; for another machine, assume so."""
    host, _, pid = named.rpartition(":")
    if host != socket.gethostname():
        return bool(host)
    return Path(f"/proc/{pid}").exists()


def close_stale_runs(client: MlflowClient, experiments: Sequence[str], *, kfp_run: str = "") -> int:
    """End our runs that a killed process left RUNNING, as KILLED; return how many.

    A run is stale if its owner was a process of this host that is gone, or an earlier attempt of the same
    pipeline run.
    """
    closed = 0
    for run in _search(client, experiments, "attributes.status = 'RUNNING'"):
        named = run.data.tags.get(OWNER_TAG, "")
        same_pipeline = bool(kfp_run) and run.data.tags.get("audit.kfp_run") == kfp_run
        if named and named != owner() and (same_pipeline or not owner_lives(named)):
            client.set_terminated(run.info.run_id, status="KILLED")
            closed += 1
    return closed


def close_runs_of_dead_processes(*, wait_for: Iterable[int], seconds: float = 10.0) -> int:
    """Wait until the processes are gone, then end the runs that they left RUNNING; return how many."""
    deadline = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}").exists() for pid in wait_for) and time.monotonic() < deadline:
        time.sleep(0.1)
    with connected() as (client, _):
        return close_stale_runs(client, all_experiments(client))
