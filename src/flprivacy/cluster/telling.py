"""Which runs failed lately, and the message that says why: what a step cannot tell, as it may be the one that died."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from flprivacy import __version__
from flprivacy.cluster.api import Cluster
from flprivacy.cluster.causes import read_causes
from flprivacy.cluster.runs import FAILED, ListedRun, list_runs, run_status

_MOST_RUNS = 1000  # of which some may have begun long ago
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def last_period(now: datetime, length: timedelta) -> tuple[datetime, datetime]:
    """Return begin and end of the last whole period; periods begin at multiples of their length since 1970."""
    end = now - (now - _EPOCH) % length
    return end - length, end


def failed_runs(cluster: Cluster, pipelines: Mapping[str, str], begin: datetime, end: datetime) -> list[ListedRun]:
    """Return the runs of those pipelines (titles by id) that failed from ``begin`` until before ``end``, in order."""
    found = list_runs(cluster, pipelines, _MOST_RUNS)
    lately = [run for run in found if run.state == FAILED and run.ended is not None and begin <= run.ended < end]
    return sorted(lately, key=lambda run: (run.ended or end, run.run_id))


def failure_message(cluster: Cluster, run: ListedRun, steps: Sequence[str]) -> dict[str, Any]:
    """Return what a webhook gets of a run that failed: name, causes and address, and no identifier of anybody.

    Causes are those of Kubernetes if it can be asked from here, else what Kubeflow Pipelines tells.
    """
    causes = read_causes(run.run_id, cluster.namespace)
    told = [str(cause) for cause in causes.failed] or list(run_status(cluster, run.run_id, steps).failures)
    first = told[0] if told else "for a reason that its pods' logs tell"
    return {
        "kind": "flprivacy.failed_run",
        "schema": 1,
        "flprivacy": __version__,
        "text": f"flprivacy: {run.pipeline} {run.name!r} failed: {first}",
        "pipeline": run.pipeline,
        "name": run.name,
        "kfp_run": run.run_id,
        "schedule": run.schedule_id,
        "ended": run.ended.isoformat(timespec="seconds") if run.ended else "",
        "link": cluster.run_link(run.run_id),
        "causes": told,
    }
