"""Start a run of a version, and read from the server how it goes: its steps, how it ended, and what failed and why."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kfp_server_api import V2beta1PipelineVersionReference, V2beta1Run, V2beta1RuntimeConfig

from flprivacy import __version__
from flprivacy.cluster.api import Cluster, ClusterError, named
from flprivacy.cluster.causes import read_causes

SUCCEEDED, FAILED, SKIPPED, CANCELED, RUNNING = "SUCCEEDED", "FAILED", "SKIPPED", "CANCELED", "RUNNING"
FINISHED = (SUCCEEDED, FAILED, SKIPPED, CANCELED)
_DRIVER = "-driver"
_MOST_RUNS = 1000  # of which some may have begun long ago
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Start:
    """What to run, once or on a schedule."""

    pipeline_id: str  # of the pipeline
    version_id: str  # of its version
    experiment_id: str  # where to file the run
    name: str  # of the run or schedule; that of a run need not be unique
    parameters: Mapping[str, Any]  # typed values by name
    service_account: str = ""  # of the steps' pods; empty: the installation's default
    plugins_input: Mapping[str, Any] | None = None  # of the backend's plugins: ``{"mlflow": {"experiment_name": ...}}``

    def fields(self) -> dict[str, Any]:
        """Return the fields that the API's runs and recurring runs have in common."""
        return {
            "display_name": self.name,
            "experiment_id": self.experiment_id,
            "pipeline_version_reference": V2beta1PipelineVersionReference(
                pipeline_id=self.pipeline_id, pipeline_version_id=self.version_id
            ),
            "runtime_config": V2beta1RuntimeConfig(parameters=dict(self.parameters)),
            "service_account": self.service_account or None,
            "plugins_input": dict(self.plugins_input) if self.plugins_input else None,
        }


@dataclass(frozen=True, kw_only=True)
class Step:
    """The state of a step, over all its iterations in a loop."""

    name: str  # of the step
    counts: Mapping[str, int]  # how many iterations are in each state
    seconds: float | None  # from the first start to the last end, or to now

    @property
    def state(self) -> str:
        """Return the state that says most: failed, else running, else how all iterations ended."""
        for state in (FAILED, CANCELED, RUNNING, "PENDING"):
            if self.counts.get(state):
                return state
        return SUCCEEDED if self.counts.get(SUCCEEDED) else next(iter(self.counts))


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """What the server says of a run."""

    run_id: str  # of the run
    state: str  # for example ``RUNNING``
    steps: tuple[Step, ...]  # those that the backend lists, in the order in which they began
    failures: tuple[str, ...]  # ``step: message`` of each that failed
    failed: tuple[str, ...]  # the steps that failed, by name
    links: Mapping[str, str]  # of what the backend's plugins filed, such as the MLflow run

    @property
    def finished(self) -> bool:
        """Say whether nothing more will happen."""
        return self.state in FINISHED


def start_run(cluster: Cluster, start: Start, reason: str = "submitted") -> str:
    """Start a run, its description saying why, and return its id. A lost answer does not start it twice."""
    mark = f"flprivacy {__version__}, {reason}, submission {uuid.uuid4().hex}"
    api = cluster.client.runs

    def find() -> Any:
        words = {"experiment_id": start.experiment_id, "filter": named(start.name)}
        listed = cluster.call.pages("list runs", api.run_service_list_runs, "runs", **words)
        return next((run for run in listed if run.description == mark), None)

    body = V2beta1Run(description=mark, **start.fields())
    made = cluster.call("start the run", api.run_service_create_run, body, found=find)
    if not made.run_id:
        raise ClusterError(f"{cluster.call.host}: started no run; check that --host is the API's address")
    return str(made.run_id)


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """A run in a listing."""

    run_id: str  # of the run
    name: str  # as it was given
    pipeline: str  # title of its pipeline
    state: str  # for example ``RUNNING``
    created: datetime
    ended: datetime | None  # None while it goes on
    duration: str  # for people; empty while it goes on
    schedule_id: str  # of the recurring run that started it; empty if none did


def list_runs(cluster: Cluster, pipelines: Mapping[str, str], number: int) -> list[ListedRun]:
    """Return at most ``number`` runs of those pipelines (titles by id), latest first."""
    listing = cluster.client.runs.run_service_list_runs
    words = {"sort_by": "created_at desc"} | cluster.of_namespace()
    found = []
    for run in cluster.call.pages("list runs", listing, "runs", **words):
        reference = run.pipeline_version_reference
        if reference is None or reference.pipeline_id not in pipelines:
            continue
        ended = _time(run.finished_at)
        found.append(
            ListedRun(
                run_id=str(run.run_id),
                name=str(run.display_name),
                pipeline=pipelines[reference.pipeline_id],
                state=run.state or "PENDING",
                created=run.created_at,
                ended=ended,
                duration=str(timedelta(seconds=round((ended - run.created_at).total_seconds()))) if ended else "",
                schedule_id=str(run.recurring_run_id or ""),
            )
        )
        if len(found) == number:
            break
    return found


def version_of(cluster: Cluster, run_id: str) -> tuple[str, str]:
    """Return the ids of a run's pipeline and version; AbsentError if there is no such run."""
    run = cluster.call("look up the run", cluster.client.runs.run_service_get_run, run_id)
    reference = run.pipeline_version_reference
    if reference is None:
        raise ClusterError(f"run {run_id}: was not started from a version of a pipeline, so it is none of flprivacy's")
    return str(reference.pipeline_id), str(reference.pipeline_version_id)


def run_status(cluster: Cluster, run_id: str, steps: Sequence[str]) -> RunStatus:
    """Return the state of a run and of its steps, by name; what else the backend lists (drivers, loops, pods) is not.

    AbsentError if there is no such run.
    """
    run = cluster.call("look up the run", cluster.client.runs.run_service_get_run, run_id)
    details = (run.run_details.task_details if run.run_details else None) or []
    by_name = {name: [task for task in details if task.display_name == name] for name in steps}
    began = sorted((tasks for tasks in by_name.values() if tasks), key=_first_start)
    found = tuple(_step(str(tasks[0].display_name), tasks) for tasks in began)
    failed = _failures(details, steps)
    failures = tuple(f"{name}: {message or 'failed; its log says why'}" for name, message in failed.items())
    if run.error and run.error.message and run.state == FAILED:
        failures += (f"run: {_line(run.error.message)}",)
    links = dict(_links(run.plugins_output or {}))
    return RunStatus(
        run_id=run_id,
        state=run.state or "PENDING",
        steps=found,
        failures=failures,
        failed=tuple(failed),
        links=links,
    )


def _first_start(tasks: Sequence[Any]) -> datetime:
    return min((time for task in tasks if (time := _time(task.start_time))), default=datetime.max.replace(tzinfo=UTC))


def _step(name: str, tasks: Sequence[Any]) -> Step:
    counts = Counter(task.state or "PENDING" for task in tasks)
    starts = [time for task in tasks if (time := _time(task.start_time))]
    ends = [_time(task.end_time) for task in tasks]
    seconds = None
    if starts:
        last = max(end for end in ends if end) if all(ends) else datetime.now(UTC)
        seconds = max(0.0, (last - min(starts)).total_seconds())
    return Step(name=name, counts=counts, seconds=seconds)


def _time(value: Any) -> datetime | None:
    """Return a time; the backend writes the year 1970 where there is none yet."""
    if not isinstance(value, datetime) or value.year <= 1970:
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _failures(details: Sequence[Any], steps: Sequence[str]) -> dict[str, str]:
    """Return what the backend says of every step that failed, or whose driver did, or of its pods, by its name."""
    failed = [task for task in details if task.state == FAILED]
    owner = {child: task for task in details for child in _children(task)}
    lines: dict[str, str] = {}
    for task in failed:
        name = _step_of(task, owner, steps)
        if name:
            lines[name] = lines.get(name, "") or _message(task)
    return lines


def _step_of(task: Any, owner: Mapping[str, Any], steps: Sequence[str]) -> str:
    """Return the step that a task of the backend belongs to; empty for a loop or the whole run."""
    seen: set[int] = set()
    found: Any = task
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        name = str(found.display_name or "")
        if name in steps or name.removesuffix(_DRIVER) in steps:
            return name.removesuffix(_DRIVER)
        found = owner.get(found.task_id) or owner.get(found.pod_name)
    return ""


def _children(task: Any) -> list[str]:
    return [name for child in task.child_tasks or () for name in (child.task_id, child.pod_name) if name]


def _message(task: Any) -> str:
    if task.error and task.error.message:
        return _line(task.error.message)
    said = [status.error.message for status in task.state_history or () if status.error and status.error.message]
    return _line(said[-1]) if said else ""


def _line(text: str) -> str:
    return " ".join(str(text).split())


def _links(plugins: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for plugin, output in plugins.items():
        for name, entry in (output.entries or {}).items():
            if entry.render_type == "URL" and isinstance(entry.value, str):
                found.append((f"{plugin} {name.replace('_', ' ')}", entry.value))
    return found


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
