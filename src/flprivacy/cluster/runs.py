"""Start a run of a version, and what the server tells of a run: its steps, how it ended, and what failed."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kfp_server_api import V2beta1PipelineVersionReference, V2beta1Run, V2beta1RuntimeConfig

from flprivacy import __version__
from flprivacy.cluster.connection import Cluster
from flprivacy.cluster.requests import ClusterError, named

SUCCEEDED, FAILED, SKIPPED, CANCELED, RUNNING = "SUCCEEDED", "FAILED", "SKIPPED", "CANCELED", "RUNNING"
FINISHED = (SUCCEEDED, FAILED, SKIPPED, CANCELED)
_DRIVER = "-driver"


@dataclass(frozen=True, kw_only=True)
class Start:
    """What to run.

    Attributes:
        pipeline_id: of the pipeline.
        version_id: of its version.
        experiment_id: where to file the run.
        name: of the run; need not be unique.
        parameters: typed values by name.
        service_account: of the steps' pods; empty: the installation's default.
        plugins_input: of the backend's plugins, such as ``{"mlflow": {"experiment_name": "audits"}}``.
        reason: one line for the description.
    """

    pipeline_id: str
    version_id: str
    experiment_id: str
    name: str
    parameters: Mapping[str, Any]
    service_account: str = ""
    plugins_input: Mapping[str, Any] | None = None
    reason: str = "submitted"


@dataclass(frozen=True, kw_only=True)
class Step:
    """The state of a step, over all its repetitions in a loop.

    Attributes:
        name: of the step.
        counts: how many repetitions are in each state.
        seconds: from the first start to the last end, or to now.
    """

    name: str
    counts: Mapping[str, int]
    seconds: float | None

    @property
    def state(self) -> str:
        """Return the state that tells most: failed, else running, else what all repetitions came to."""
        for state in (FAILED, CANCELED, RUNNING, "PENDING"):
            if self.counts.get(state):
                return state
        return SUCCEEDED if self.counts.get(SUCCEEDED) else next(iter(self.counts))


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """What the server tells of a run.

    Attributes:
        run_id: of the run.
        state: such as ``RUNNING``.
        steps: those that the backend lists, in the order in which they began.
        failures: ``step: message`` of each that failed.
        links: of what the backend's plugins filed, such as the MLflow run.
    """

    run_id: str
    state: str
    steps: tuple[Step, ...]
    failures: tuple[str, ...]
    links: Mapping[str, str]

    @property
    def finished(self) -> bool:
        """Say whether nothing more will happen."""
        return self.state in FINISHED


def start_run(cluster: Cluster, start: Start) -> str:
    """Start a run and return its id. A lost answer does not start it twice.

    Raises:
        ClusterError: the server refuses.
    """
    mark = f"flprivacy {__version__}, {start.reason}, submission {uuid.uuid4().hex}"
    body = V2beta1Run(
        display_name=start.name,
        description=mark,
        experiment_id=start.experiment_id,
        pipeline_version_reference=V2beta1PipelineVersionReference(
            pipeline_id=start.pipeline_id, pipeline_version_id=start.version_id
        ),
        runtime_config=V2beta1RuntimeConfig(parameters=dict(start.parameters)),
        service_account=start.service_account or None,
        plugins_input=dict(start.plugins_input) if start.plugins_input else None,
    )

    def find() -> Any:
        words = {"experiment_id": start.experiment_id, "filter": named(start.name)}
        listed = cluster.call.pages("list runs", cluster.client.runs.run_service_list_runs, "runs", **words)
        return next((run for run in listed if run.description == mark), None)

    made = cluster.call("start the run", cluster.client.runs.run_service_create_run, body, found=find)
    if not made.run_id:
        raise ClusterError(f"{cluster.call.host}: started no run; check that --host is the API's address")
    return str(made.run_id)


def run_status(cluster: Cluster, run_id: str, steps: Sequence[str]) -> RunStatus:
    """Return the state of a run and of its steps.

    Args:
        cluster: where it runs.
        run_id: of the run.
        steps: names of the pipeline's steps; what else the backend lists (drivers, loops, pods) is left out.

    Raises:
        AbsentError: there is no such run.
        ClusterError: the server refuses.
    """
    run = cluster.call("look at the run", cluster.client.runs.run_service_get_run, run_id)
    details = (run.run_details.task_details if run.run_details else None) or []
    by_name = {name: [task for task in details if task.display_name == name] for name in steps}
    began = sorted((tasks for tasks in by_name.values() if tasks), key=_first_start)
    found = tuple(_step(str(tasks[0].display_name), tasks) for tasks in began)
    failures = tuple(dict.fromkeys(_failures(details, steps)))
    if run.error and run.error.message and run.state == FAILED:
        failures += (f"run: {_line(run.error.message)}",)
    links = dict(_links(run.plugins_output or {}))
    return RunStatus(run_id=run_id, state=run.state or "PENDING", steps=found, failures=failures, links=links)


def _first_start(tasks: Sequence[Any]) -> datetime:
    return min((time for task in tasks if (time := _time(task.start_time))), default=datetime.max.replace(tzinfo=UTC))


def _step(name: str, tasks: Sequence[Any]) -> Step:
    counts: dict[str, int] = {}
    for task in tasks:
        state = task.state or "PENDING"
        counts[state] = counts.get(state, 0) + 1
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


def _failures(details: Sequence[Any], steps: Sequence[str]) -> list[str]:
    """Name every step that failed, or whose driver did, with what the backend says of it or of its pods."""
    failed = [task for task in details if task.state == FAILED]
    owner = {child: task for task in details for child in _children(task)}
    lines: dict[str, str] = {}
    for task in failed:
        name = _step_of(task, owner, steps)
        if name:
            lines[name] = lines.get(name, "") or _message(task)
    return [f"{name}: {message or 'failed, for a reason that its log tells'}" for name, message in lines.items()]


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
    told = [status.error.message for status in task.state_history or () if status.error and status.error.message]
    return _line(told[-1]) if told else ""


def _line(text: str) -> str:
    return " ".join(str(text).split())


def _links(plugins: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for plugin, output in plugins.items():
        for name, entry in (output.entries or {}).items():
            if entry.render_type == "URL" and isinstance(entry.value, str):
                found.append((f"{plugin} {name.replace('_', ' ')}", entry.value))
    return found
