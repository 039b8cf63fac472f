"""Schedules: recurring runs of ours, found by name. The API cannot change one, so a new one takes an old one's place.

The new recurring run is made, enabled, before the old one is deleted: at no moment is there none. Whoever is stopped
in between leaves two; the same command again finds the one that is as wanted, and deletes the others.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kfp_server_api import (
    RecurringRunMode,
    V2beta1CronSchedule,
    V2beta1PipelineVersionReference,
    V2beta1RecurringRun,
    V2beta1RuntimeConfig,
    V2beta1Trigger,
)

from flprivacy import __version__
from flprivacy.cluster.connection import Cluster
from flprivacy.cluster.requests import AbsentError, ClusterError, named
from flprivacy.cluster.runs import Start, start_run
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import ConfigError

# Runs under way belong to their recurring run: any other policy would stop them when it is deleted.
_KEEP_RUNS = "ORPHAN"
_MARK = re.compile(r"flprivacy schedule (?P<digest>[0-9a-f]{64}); (?P<cron>[^;]+) \((?P<zone>[^;()]+)\)")
ENABLED = "ENABLED"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A schedule as it shall be.

    Attributes:
        name: of the schedule; one of each name is kept.
        cron: six fields, in the cluster's zone.
        written: the cron expression as it was given, for people.
        zone: the zone it was given in.
        start: what to run.
    """

    name: str
    cron: str
    written: str
    zone: str
    start: Start

    @property
    def digest(self) -> str:
        """Return the digest of all that makes one schedule differ from another."""
        start = self.start
        fields = [self.cron, start.pipeline_id, start.version_id, start.experiment_id, start.service_account]
        return digest_json(
            [*fields, dict(start.parameters), dict(start.plugins_input or {}), "no catch-up, 1 at a time"]
        )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A recurring run of ours.

    Attributes:
        schedule_id: of the recurring run.
        name: of the schedule.
        enabled: it is not paused.
        cron: six fields, in the cluster's zone; empty if it has another trigger.
        written: the cron expression as it was given.
        zone: the zone it was given in.
        digest: of what it was made as (:attr:`Wanted.digest`).
        created: when.
        start: what it runs.
    """

    schedule_id: str
    name: str
    enabled: bool
    cron: str
    written: str
    zone: str
    digest: str
    created: datetime
    start: Start


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """What :func:`put_schedule` did.

    Attributes:
        schedule_id: the one that is there now.
        created: it was made by this call.
        removed: ids of those it took the place of.
        resumed: one of them was paused.
    """

    schedule_id: str
    created: bool
    removed: tuple[str, ...]
    resumed: bool


def list_schedules(cluster: Cluster, name: str = "") -> list[Schedule]:
    """Return the schedules that flprivacy made, oldest first; with a name, those of that name.

    Raises:
        ClusterError: the server refuses.
    """
    return [found for item in _listed(cluster, name) if (found := _schedule(item)) is not None]


def all_named(cluster: Cluster, name: str) -> list[Schedule]:
    """Return the schedule of that name; of several, which a stopped replacement left, the one that counts is last.

    Raises:
        ConfigError: there is none that flprivacy made.
        ClusterError: the server refuses.
    """
    found = list_schedules(cluster, name)
    if not found:
        raise ConfigError(f"schedule {name!r}: there is none that flprivacy made; 'flprivacy schedule list' shows them")
    return found


def put_schedule(cluster: Cluster, wanted: Wanted) -> Replaced:
    """Make the schedule, in place of any of that name, without a moment without one.

    Raises:
        ConfigError: a recurring run of that name was made by something else.
        ClusterError: the server refuses; what was there before is there still.
    """
    items = _listed(cluster, wanted.name)
    there = [found for item in items if (found := _schedule(item)) is not None]
    if len(there) < len(items):
        raise ConfigError(
            f"schedule {wanted.name!r}: a recurring run of that name was not made by flprivacy; choose another name"
        )
    same = [schedule for schedule in there if schedule.digest == wanted.digest]
    kept = max(same, key=lambda schedule: (schedule.enabled, schedule.created), default=None)
    if kept is None:
        current = _create(cluster, wanted)
    else:
        current = kept.schedule_id
        if not kept.enabled:
            set_enabled(cluster, kept, enabled=True)
    others = [schedule for schedule in there if schedule.schedule_id != current]
    for schedule in others:
        delete_schedule(cluster, schedule)
    return Replaced(
        schedule_id=current,
        created=kept is None,
        removed=tuple(schedule.schedule_id for schedule in others),
        resumed=bool(there) and not any(schedule.enabled for schedule in there),
    )


def set_enabled(cluster: Cluster, schedule: Schedule, *, enabled: bool) -> None:
    """Pause or resume a schedule.

    Raises:
        ClusterError: the server refuses.
    """
    api = cluster.client.recurring_runs
    change = (
        api.recurring_run_service_enable_recurring_run if enabled else api.recurring_run_service_disable_recurring_run
    )
    cluster.call(f"{'resume' if enabled else 'pause'} schedule {schedule.name!r}", change, schedule.schedule_id)


def delete_schedule(cluster: Cluster, schedule: Schedule) -> None:
    """Delete a schedule; its runs, those under way too, stay. One that is gone already is no error.

    Raises:
        ClusterError: the server refuses.
    """
    delete = cluster.client.recurring_runs.recurring_run_service_delete_recurring_run
    what = f"delete schedule {schedule.name!r}"
    try:
        cluster.call(what, delete, schedule.schedule_id, propagation_policy=_KEEP_RUNS)
    except AbsentError:
        return


def run_now(cluster: Cluster, schedule: Schedule, name: str) -> str:
    """Start a run of the schedule's own version with its own parameters, beside its times; return the run's id.

    Raises:
        ClusterError: the server refuses.
    """
    start = schedule.start
    return start_run(
        cluster,
        Start(
            pipeline_id=start.pipeline_id,
            version_id=start.version_id,
            experiment_id=start.experiment_id,
            name=name,
            parameters=start.parameters,
            service_account=start.service_account,
            plugins_input=start.plugins_input,
            reason=f"now, of schedule {schedule.schedule_id}",
        ),
    )


def _listed(cluster: Cluster, name: str) -> list[Any]:
    listing = cluster.client.recurring_runs.recurring_run_service_list_recurring_runs
    words: dict[str, Any] = {"filter": named(name)} if name else {}
    if cluster.namespace:
        words["namespace"] = cluster.namespace
    items = list(cluster.call.pages("list schedules", listing, "recurring_runs", sort_by="created_at asc", **words))
    return [item for item in items if not name or item.display_name == name]


def _schedule(item: Any) -> Schedule | None:
    """Return a recurring run as a schedule, if flprivacy made it."""
    mark = _MARK.match(item.description or "")
    reference = item.pipeline_version_reference
    if mark is None or reference is None:
        return None
    cron = item.trigger.cron_schedule.cron if item.trigger and item.trigger.cron_schedule else ""
    config = item.runtime_config
    return Schedule(
        schedule_id=item.recurring_run_id,
        name=item.display_name,
        enabled=item.status == ENABLED,
        cron=cron or "",
        written=mark["cron"],
        zone=mark["zone"],
        digest=mark["digest"],
        created=item.created_at or datetime.fromtimestamp(0, UTC),
        start=Start(
            pipeline_id=reference.pipeline_id,
            version_id=reference.pipeline_version_id,
            experiment_id=item.experiment_id,
            name=item.display_name,
            parameters=(config.parameters if config else None) or {},
            service_account=item.service_account or "",
            plugins_input=item.plugins_input or None,
        ),
    )


def _create(cluster: Cluster, wanted: Wanted) -> str:
    start = wanted.start
    mark = f"flprivacy schedule {wanted.digest}; {wanted.written} ({wanted.zone}); flprivacy {__version__}"
    plugins: Mapping[str, Any] | None = start.plugins_input
    body = V2beta1RecurringRun(
        display_name=wanted.name,
        description=mark,
        experiment_id=start.experiment_id,
        pipeline_version_reference=V2beta1PipelineVersionReference(
            pipeline_id=start.pipeline_id, pipeline_version_id=start.version_id
        ),
        runtime_config=V2beta1RuntimeConfig(parameters=dict(start.parameters)),
        service_account=start.service_account or None,
        trigger=V2beta1Trigger(cron_schedule=V2beta1CronSchedule(cron=wanted.cron)),
        mode=RecurringRunMode.ENABLE,
        max_concurrency="1",
        no_catchup=True,
        plugins_input=dict(plugins) if plugins else None,
    )

    def find() -> Any:
        return next((item for item in _listed(cluster, wanted.name) if item.description == mark), None)

    create = cluster.client.recurring_runs.recurring_run_service_create_recurring_run
    made = cluster.call(f"make schedule {wanted.name!r}", create, body, found=find)
    if not made.recurring_run_id:
        raise ClusterError(f"{cluster.call.host}: made no schedule {wanted.name!r}; look into the API server's log")
    return str(made.recurring_run_id)
