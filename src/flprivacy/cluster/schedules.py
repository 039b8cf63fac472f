"""Schedules: our recurring runs, found by name. The API cannot change one, so a new one replaces the old one.

The new recurring run is created, enabled, before the old one is deleted, so there is always one. A replacement that is
stopped in between leaves two; repeating the command keeps the one that is as wanted and deletes the others.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from kfp_server_api import RecurringRunMode, V2beta1CronSchedule, V2beta1RecurringRun, V2beta1Trigger

from flprivacy import __version__
from flprivacy.cluster.api import AbsentError, Cluster, ClusterError, named
from flprivacy.cluster.runs import Start, start_run
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import ConfigError

# Runs under way belong to their recurring run: any other policy would stop them when it is deleted.
_KEEP_RUNS = "ORPHAN"
_MARK = re.compile(r"flprivacy schedule (?P<digest>[0-9a-f]{64}); (?P<cron>[^;]+) \((?P<zone>[^;()]+)\)")
ENABLED = "ENABLED"
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A recurring run of ours, as it is or, without an id, as it should be; one of each name is kept."""

    cron: str  # six fields, in the cluster's time zone; empty if it has another trigger
    written: str  # the cron expression as it was given, for people
    zone: str  # the time zone it was given in
    start: Start  # what it runs; its name is the schedule's
    schedule_id: str = ""  # of the recurring run
    digest: str = ""  # of what the recurring run was created from
    enabled: bool = True  # whether it is not paused
    created: datetime = _EPOCH


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """What :func:`put_schedule` did."""

    schedule_id: str  # the one that is there now
    created: bool  # whether this call created it
    removed: int  # how many it replaced
    resumed: bool  # whether all of those were paused


def list_schedules(cluster: Cluster, name: str = "") -> list[Schedule]:
    """Return the schedules that flprivacy created, oldest first; with a name, those of that name."""
    return [found for item in _listed(cluster, name) if (found := _schedule(item)) is not None]


def list_all(cluster: Cluster, pipelines: Mapping[str, str]) -> tuple[list[Schedule], list[str]]:
    """Return the schedules that flprivacy created, and the names of other recurring runs of those pipelines' ids."""
    items = _listed(cluster, "")
    ours = [found for item in items if (found := _schedule(item)) is not None]
    others = [item for item in items if _schedule(item) is None and item.pipeline_version_reference is not None]
    return ours, [str(one.display_name) for one in others if one.pipeline_version_reference.pipeline_id in pipelines]


def all_named(cluster: Cluster, name: str) -> list[Schedule]:
    """Return the schedule of that name; of several, left by a stopped replacement, the last is the one that counts.

    Raises:
        ConfigError: there is none that flprivacy created.
    """
    found = list_schedules(cluster, name)
    if not found:
        raise ConfigError(
            f"schedule {name!r}: there is none that flprivacy created; 'flprivacy schedule list' shows them"
        )
    return found


def put_schedule(cluster: Cluster, wanted: Schedule) -> Replaced:
    """Create the schedule, or replace the one of that name with it; at no moment is there none.

    Raises:
        ConfigError: a recurring run of that name was created by something else.
        ClusterError: the server refuses; what was there before is still there.
    """
    name = wanted.start.name
    items = _listed(cluster, name)
    there = [found for item in items if (found := _schedule(item)) is not None]
    if len(there) < len(items):
        raise ConfigError(
            f"schedule {name!r}: a recurring run of that name was not created by flprivacy; choose another name"
        )
    digest = _digest(wanted)
    same = [schedule for schedule in there if schedule.digest == digest]
    kept = max(same, key=lambda schedule: (schedule.enabled, schedule.created), default=None)
    if kept is None:
        current = _create(cluster, wanted, digest)
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
        removed=len(others),
        resumed=bool(there) and not any(schedule.enabled for schedule in there),
    )


def _digest(wanted: Schedule) -> str:
    """Return the digest of all that makes one schedule differ from another."""
    start = wanted.start
    fields = [wanted.cron, start.pipeline_id, start.version_id, start.experiment_id, start.service_account]
    return digest_json([*fields, dict(start.parameters), dict(start.plugins_input or {}), "no catch-up, 1 at a time"])


def set_enabled(cluster: Cluster, schedule: Schedule, *, enabled: bool) -> None:
    """Pause or resume a schedule."""
    word = "enable" if enabled else "disable"
    change = getattr(cluster.client.recurring_runs, f"recurring_run_service_{word}_recurring_run")
    cluster.call(f"{'resume' if enabled else 'pause'} schedule {schedule.start.name!r}", change, schedule.schedule_id)


def delete_schedule(cluster: Cluster, schedule: Schedule) -> None:
    """Delete a schedule; its runs stay, running ones too. One that is already gone is no error."""
    delete = cluster.client.recurring_runs.recurring_run_service_delete_recurring_run
    with suppress(AbsentError):
        what = f"delete schedule {schedule.start.name!r}"
        cluster.call(what, delete, schedule.schedule_id, propagation_policy=_KEEP_RUNS)


def run_now(cluster: Cluster, schedule: Schedule, name: str) -> str:
    """Start an extra run of the schedule's own version with its own parameters; return the run's id."""
    return start_run(cluster, replace(schedule.start, name=name), f"now, of schedule {schedule.schedule_id}")


def _listed(cluster: Cluster, name: str) -> list[Any]:
    listing = cluster.client.recurring_runs.recurring_run_service_list_recurring_runs
    words: dict[str, Any] = ({"filter": named(name)} if name else {}) | cluster.of_namespace()
    items = list(cluster.call.pages("list schedules", listing, "recurring_runs", sort_by="created_at asc", **words))
    return [item for item in items if not name or item.display_name == name]


def _schedule(item: Any) -> Schedule | None:
    """Return a recurring run as a schedule, if flprivacy created it."""
    mark = _MARK.match(item.description or "")
    reference = item.pipeline_version_reference
    if mark is None or reference is None:
        return None
    cron = item.trigger.cron_schedule.cron if item.trigger and item.trigger.cron_schedule else ""
    config = item.runtime_config
    return Schedule(
        schedule_id=item.recurring_run_id,
        enabled=item.status == ENABLED,
        cron=cron or "",
        written=mark["cron"],
        zone=mark["zone"],
        digest=mark["digest"],
        created=item.created_at or _EPOCH,
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


def _create(cluster: Cluster, wanted: Schedule, digest: str) -> str:
    name = wanted.start.name
    mark = f"flprivacy schedule {digest}; {wanted.written} ({wanted.zone}); flprivacy {__version__}"
    body = V2beta1RecurringRun(
        description=mark,
        trigger=V2beta1Trigger(cron_schedule=V2beta1CronSchedule(cron=wanted.cron)),
        mode=RecurringRunMode.ENABLE,
        max_concurrency="1",
        no_catchup=True,
        **wanted.start.fields(),
    )

    def find() -> Any:
        return next((item for item in _listed(cluster, name) if item.description == mark), None)

    create = cluster.client.recurring_runs.recurring_run_service_create_recurring_run
    made = cluster.call(f"create schedule {name!r}", create, body, found=find)
    if not made.recurring_run_id:
        raise ClusterError(f"{cluster.call.host}: created no schedule {name!r}; check the API server's log")
    return str(made.recurring_run_id)
