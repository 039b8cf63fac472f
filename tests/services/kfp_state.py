"""What Kubeflow Pipelines' API holds and does: the operations that flprivacy uses, with filters, pages and faults.

Rules beyond the published description are those of the API server 2.17: names are unique (409), page tokens belong to
their filter, parameters have types and at most 10,000 bytes.
"""

import base64
import json
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from tests.services.kfp_swagger import Asked

Frame = tuple[str, list[dict[str, Any]]]
_MOST_PARAMETER_BYTES = 10_000
_PAGE = 10
_KINDS = {
    "STRING": str,
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": bool,
    "LIST": list,
    "STRUCT": dict,
}


class Refused(Exception):
    """The server's answer is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Fault:
    """What the next request of an operation gets instead of its answer.

    Attributes:
        operation: name in the description.
        status: of the answer; 0 closes the connection without one.
        after: the request is carried out first, and only its answer is lost.
        body: of the answer, if it is not the server's own kind of error.
        kind: of that body.
    """

    operation: str
    status: int
    after: bool = False
    body: bytes = b""
    kind: str = "application/json"


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def task(
    name: str, state: str, *, message: str = "", begins: int = 0, seconds: int = 60, **more: Any
) -> dict[str, Any]:
    """Return what the server lists of a task."""
    start = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC) + timedelta(seconds=begins)
    end = start + timedelta(seconds=seconds) if state in ("SUCCEEDED", "FAILED") else datetime(1970, 1, 1, tzinfo=UTC)
    found = {"task_id": str(uuid.uuid4()), "display_name": name, "state": state, "execution_id": "0"}
    found |= {"start_time": _text(start), "end_time": _text(end)}
    if message:
        found["state_history"] = [{"state": state, "error": {"code": 13, "message": message}}]
    return found | more


_PLANNED = task("plan-study", "SUCCEEDED")
SUCCESS: tuple[Frame, ...] = (
    ("PENDING", []),
    ("RUNNING", [_PLANNED, task("make-cohort", "RUNNING", begins=60), task("root-driver", "SUCCEEDED")]),
    ("SUCCEEDED", [_PLANNED, task("make-cohort", "SUCCEEDED", begins=60), task("root", "SUCCEEDED")]),
)


@dataclass
class KfpState:
    """What the server holds, and what it was asked.

    Attributes:
        url: of the server.
        token: that requests must carry; empty: none.
        multi_user: namespaces are asked for.
        faults: answers to come, taken in order by the first request of their operation.
        plots: what the next runs go through, a frame for each look; the last one stays.
        asked: operations, in order.
        violations: what broke the description.
        enabled: per name of a schedule, how many are enabled after each change.
    """

    url: str = ""
    token: str = ""
    multi_user: bool = False
    faults: list[Fault] = field(default_factory=list)
    plots: list[tuple[Frame, ...]] = field(default_factory=list)
    plugins_output: dict[str, Any] = field(default_factory=dict)
    pipelines: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    specs: dict[str, list[Any]] = field(default_factory=dict)
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    frames: dict[str, list[Frame]] = field(default_factory=dict)
    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    enabled: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _clock: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def count(self, operation: str) -> int:
        """Return how often an operation was asked for."""
        return sum(asked.operation == operation for asked in self.asked)

    def now(self) -> str:
        """Return a time that was never returned before."""
        self._clock += timedelta(seconds=1)
        return _text(self._clock)

    def add_schedule(self, name: str, description: str = "", cron: str = "0 0 2 * * *", enabled: bool = True) -> str:
        """Put a recurring run there, as if another client had made it."""
        found = {
            "recurring_run_id": str(uuid.uuid4()),
            "display_name": name,
            "description": description,
            "pipeline_version_reference": {"pipeline_id": "p", "pipeline_version_id": "v"},
            "experiment_id": "e",
            "created_at": self.now(),
            "status": "ENABLED" if enabled else "DISABLED",
            "trigger": {"cron_schedule": {"cron": cron}},
            "runtime_config": {"parameters": {}},
        }
        self.schedules[found["recurring_run_id"]] = found
        return str(found["recurring_run_id"])

    def answer(self, asked: Asked) -> Any:
        """Carry out a request."""
        self.asked.append(asked)
        return OPERATIONS[asked.operation](self, asked)


def _page(state: KfpState, asked: Asked, items: dict[str, dict[str, Any]], field_name: str, keys: set[str]) -> Any:
    """Return one page of a listing, filtered."""
    query = asked.query
    criteria = [query.get("filter", ""), query.get("sort_by", "")]
    predicates = json.loads(criteria[0] or "{}").get("predicates", [])
    for predicate in predicates:
        if predicate["key"] not in keys or predicate["operation"] not in ("EQUALS", 1):
            raise Refused(400, f"Invalid filter {predicate}")
    found = [i for i in items.values() if all(i.get(p["key"]) == p["stringValue"] for p in predicates)]
    start, size = 0, int(query.get("page_size") or _PAGE) or _PAGE
    if query.get("page_token"):
        start, *of = json.loads(base64.b64decode(query["page_token"]))
        if of != criteria:
            raise Refused(400, "page token does not match the supplied sort by and/or filtering criteria")
    answer: dict[str, Any] = {field_name: found[start : start + size], "total_size": len(found)}
    if start + size < len(found):
        answer["next_page_token"] = base64.b64encode(json.dumps([start + size, *criteria]).encode()).decode()
    return answer


def _namespace(state: KfpState, given: str | None) -> str:
    if state.multi_user and not given:
        raise Refused(400, "Namespace cannot be empty in multi-user mode")
    return given if state.multi_user and given else ""


def _list_pipelines(state: KfpState, asked: Asked) -> Any:
    _namespace(state, asked.query.get("namespace"))
    return _page(state, asked, state.pipelines, "pipelines", {"display_name", "name"})


def _create_pipeline(state: KfpState, asked: Asked) -> Any:
    namespace = _namespace(state, asked.body.get("namespace"))
    if any(p["name"] == asked.body["name"] for p in state.pipelines.values()):
        raise Refused(409, f"The name {asked.body['name']} already exist. Please specify a new name")
    made = {**asked.body, "pipeline_id": str(uuid.uuid4()), "created_at": state.now(), "namespace": namespace}
    state.pipelines[made["pipeline_id"]] = made
    return made


def _upload_version(state: KfpState, asked: Asked) -> Any:
    pipeline, name = asked.query["pipelineid"], asked.query["name"]
    if pipeline not in state.pipelines:
        raise Refused(400, "Failed to create a pipeline version")
    documents = list(yaml.safe_load_all(asked.file))
    if "root" not in documents[0] or any("platforms" not in other for other in documents[1:]):
        raise Refused(400, "unknown template format: pipeline spec is invalid")
    if any(v["name"] == name and v["pipeline_id"] == pipeline for v in state.versions.values()):
        raise Refused(409, "Failed to create a pipeline version")
    made = {
        "pipeline_id": pipeline,
        "pipeline_version_id": str(uuid.uuid4()),
        "name": name,
        "display_name": asked.query.get("display_name") or name,
        "description": asked.query.get("description", ""),
        "created_at": state.now(),
        "pipeline_spec": {"pipeline_spec": documents[0], "platform_spec": documents[1] if documents[1:] else {}},
    }
    state.versions[made["pipeline_version_id"]] = made
    state.specs[made["pipeline_version_id"]] = documents
    return made


def _list_versions(state: KfpState, asked: Asked) -> Any:
    items = {k: v for k, v in state.versions.items() if v["pipeline_id"] == asked.path["pipeline_id"]}
    return _page(state, asked, items, "pipeline_versions", {"display_name", "name"})


def _list_experiments(state: KfpState, asked: Asked) -> Any:
    _namespace(state, asked.query.get("namespace"))
    return _page(state, asked, state.experiments, "experiments", {"display_name"})


def _create_experiment(state: KfpState, asked: Asked) -> Any:
    namespace = _namespace(state, asked.body.get("namespace"))
    if any(e["display_name"] == asked.body["display_name"] for e in state.experiments.values()):
        raise Refused(409, "Failed to create a new experiment. The name already exists")
    made = {**asked.body, "experiment_id": str(uuid.uuid4()), "namespace": namespace, "created_at": state.now()}
    state.experiments[made["experiment_id"]] = made
    return made


def _check_parameters(state: KfpState, body: dict[str, Any]) -> None:
    """Check a run's parameters against its version's pipeline, as the server does."""
    reference = body["pipeline_version_reference"]
    version = state.versions.get(reference["pipeline_version_id"])
    if version is None or version["pipeline_id"] != reference["pipeline_id"]:
        raise Refused(404, "PipelineVersion not found")
    if body["experiment_id"] not in state.experiments:
        raise Refused(404, "Experiment not found")
    given = body.get("runtime_config", {}).get("parameters", {})
    if len(json.dumps(given)) > _MOST_PARAMETER_BYTES:
        raise Refused(400, f"The input parameter length exceed maximum size of {_MOST_PARAMETER_BYTES}")
    spec = state.specs[version["pipeline_version_id"]][0]
    wanted = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name, value in wanted.items():
        if name not in given:
            if "defaultValue" not in value and not value.get("isOptional"):
                raise Refused(400, f"parameter {name} is not optional")
        elif not isinstance(given[name], _KINDS[value["parameterType"]]):
            raise Refused(400, f"input parameter {name} requires type {value['parameterType']}")
    if unknown := set(given) - set(wanted):
        raise Refused(400, f"parameters {sorted(unknown)} are not defined in the pipeline")


def _create_run(state: KfpState, asked: Asked) -> Any:
    _check_parameters(state, asked.body)
    made = {**asked.body, "run_id": str(uuid.uuid4()), "created_at": state.now(), "state": "PENDING"}
    state.runs[made["run_id"]] = made
    state.frames[made["run_id"]] = list(state.plots.pop(0) if state.plots else SUCCESS)
    return made


def _get_run(state: KfpState, asked: Asked) -> Any:
    run = _known(state.runs, asked.path["run_id"], "Run")
    frames = state.frames[run["run_id"]]
    phase, tasks = frames.pop(0) if len(frames) > 1 else frames[0]
    found = {**run, "state": phase, "run_details": {"task_details": tasks}}
    return found | ({"plugins_output": state.plugins_output} if state.plugins_output else {})


def _list_runs(state: KfpState, asked: Asked) -> Any:
    _namespace(state, asked.query.get("namespace") or asked.query.get("experiment_id"))
    wanted = asked.query.get("experiment_id")
    items = {k: v for k, v in state.runs.items() if not wanted or v["experiment_id"] == wanted}
    if asked.query.get("sort_by") == "created_at desc":
        items = dict(sorted(items.items(), key=lambda item: str(item[1]["created_at"]), reverse=True))
    return _page(state, asked, items, "runs", {"display_name"})


def _terminate_run(state: KfpState, asked: Asked) -> Any:
    run = _known(state.runs, asked.path["run_id"], "Run")
    state.frames[run["run_id"]] = [("CANCELED", [])]
    return {}


def _create_schedule(state: KfpState, asked: Asked) -> Any:
    body = asked.body
    _check_parameters(state, body)
    if not 1 <= int(body.get("max_concurrency", "0")) <= 10:
        raise Refused(400, "Max concurrency of a recurring run must be at least 1 and at most 10")
    fields = body["trigger"]["cron_schedule"]["cron"].split()
    if not 5 <= len(fields) <= 6 or "=" in fields[0]:
        raise Refused(400, "Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron)")
    status = "ENABLED" if body["mode"] == "ENABLE" else "DISABLED"
    made = {**body, "recurring_run_id": str(uuid.uuid4()), "created_at": state.now(), "status": status}
    state.schedules[made["recurring_run_id"]] = made
    return _noted(state, made)


def _list_schedules(state: KfpState, asked: Asked) -> Any:
    _namespace(state, asked.query.get("namespace"))
    return _page(state, asked, state.schedules, "recurringRuns", {"display_name"})


def _switch(status: str) -> Callable[[KfpState, Asked], Any]:
    def change(state: KfpState, asked: Asked) -> Any:
        found = _known(state.schedules, asked.path["recurring_run_id"], "Recurring run")
        found["status"] = status
        _noted(state, found)
        return {}

    return change


def _delete_schedule(state: KfpState, asked: Asked) -> Any:
    found = _known(state.schedules, asked.path["recurring_run_id"], "Recurring run")
    if asked.query.get("propagation_policy") != "ORPHAN":
        for run in [k for k, v in state.runs.items() if v.get("recurring_run_id") == found["recurring_run_id"]]:
            del state.runs[run]
    del state.schedules[found["recurring_run_id"]]
    _noted(state, found)
    return {}


def _noted(state: KfpState, changed: dict[str, Any]) -> Any:
    """Keep how many schedules of a name are enabled now."""
    name = changed["display_name"]
    same = [s for s in state.schedules.values() if s["display_name"] == name]
    state.enabled[name].append(sum(s["status"] == "ENABLED" for s in same))
    return changed


def _known(items: dict[str, dict[str, Any]], key: str, kind: str) -> dict[str, Any]:
    if key not in items:
        raise Refused(404, f"{kind} {key} not found")
    return items[key]


OPERATIONS: dict[str, Callable[[KfpState, Asked], Any]] = {
    "ExperimentService_CreateExperiment": _create_experiment,
    "ExperimentService_ListExperiments": _list_experiments,
    "HealthzService_GetHealthz": lambda state, _: {"multi_user": state.multi_user},
    "PipelineService_CreatePipeline": _create_pipeline,
    "PipelineService_GetPipelineVersion": lambda s, a: _known(s.versions, a.path["pipeline_version_id"], "Version"),
    "PipelineService_ListPipelineVersions": _list_versions,
    "PipelineService_ListPipelines": _list_pipelines,
    "RecurringRunService_CreateRecurringRun": _create_schedule,
    "RecurringRunService_DeleteRecurringRun": _delete_schedule,
    "RecurringRunService_DisableRecurringRun": _switch("DISABLED"),
    "RecurringRunService_EnableRecurringRun": _switch("ENABLED"),
    "RecurringRunService_GetRecurringRun": lambda s, a: _known(
        s.schedules, a.path["recurring_run_id"], "Recurring run"
    ),
    "RecurringRunService_ListRecurringRuns": _list_schedules,
    "RunService_CreateRun": _create_run,
    "RunService_GetRun": _get_run,
    "RunService_ListRuns": _list_runs,
    "RunService_TerminateRun": _terminate_run,
    "UploadPipelineVersion": _upload_version,
}
