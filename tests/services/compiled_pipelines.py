"""The order of a compiled pipeline's steps, and what each is given, as KFP's backend works it out."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import yaml

_INPUT = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")
_SELECTOR = re.compile(r"parseJson\(string_value\)\[\"(\w+)\"\]")
_CONDITION = re.compile(r"(?P<not>!\()?inputs\.parameter_values\['(?P<name>[^']+)'\] == '(?P<value>[^']*)'\)?")

_LAST = "ALL_UPSTREAM_TASKS_COMPLETED"
_EXIT_HANDLER = "exit-handler-"


@dataclass(kw_only=True)
class Values:
    """Parameters by name, and artifacts by name: each a list, which holds one unless it was collected from a loop."""

    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A step that is to run.

    Attributes:
        name: with the loops' items before it.
        component: its inputs and outputs.
        container: its image and command.
        platform: what the second document of the compiled file asks for.
        tries: how often it may be tried.
        given: its inputs.
    """

    name: str
    component: Mapping[str, Any]
    container: Mapping[str, Any]
    platform: Mapping[str, Any]
    tries: int
    given: Values

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that its component declares, defaults filled in."""
        declared = self.component.get("inputDefinitions", {})
        known = {n: v for n, v in self.given.parameters.items() if n in declared.get("parameters", {})}
        return _with_defaults(self.component, known)


class Watcher(Protocol):
    """What is told of a run's tasks, each by its path through the graph and as the compiled file has it."""

    def step(self, path: str, spec: Mapping[str, Any], task: Task) -> None:
        """A step was prepared."""

    def group(self, path: str, spec: Mapping[str, Any], component: Mapping[str, Any], items: int | None) -> None:
        """A group of tasks was entered: a loop of so many rounds, or None."""

    def hook(self, path: str, name: str) -> None:
        """A group of tasks has ended, and a task that comes after it in any case follows."""


def run_compiled(
    file: Path,
    arguments: Mapping[str, Any],
    *,
    run_id: str,
    run_step: Callable[[Task], Values],
    watcher: Watcher | None = None,
) -> Values:
    """Run all steps of a compiled pipeline in the order of their dependencies, and return the pipeline's outputs.

    Args:
        file: the compiled pipeline.
        arguments: its parameters.
        run_id: of the run.
        run_step: runs a step and returns its outputs.
        watcher: whom to tell of every task.
    """
    spec, platform = yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    inputs = Values(parameters=_with_defaults(spec["root"], arguments))
    return _Dag(spec, executors, run_id, run_step, watcher).run(spec["root"], inputs)


@dataclass(frozen=True)
class _Dag:
    """One level of a pipeline: its tasks see its inputs and each other's outputs."""

    spec: dict[str, Any]
    platform: dict[str, Any]
    run_id: str
    run_step: Callable[["Task"], Values]
    watcher: Watcher | None = None
    path: str = ""
    place: str = "root"  # the path with the loops' and rounds' own names

    def run(self, component: Mapping[str, Any], inputs: Values) -> Values:
        tasks = component["dag"]["tasks"]
        last = {name: task for name, task in tasks.items() if task.get("triggerPolicy", {}).get("strategy") == _LAST}
        first = {name: task for name, task in tasks.items() if name not in last}
        done: dict[str, Values] = {}
        try:
            while len(done) < len(first):
                ready = [n for n in first if n not in done and set(first[n].get("dependentTasks", ())) <= set(done)]
                assert ready, f"{self.path}: tasks wait for each other"
                for name in ready:
                    done[name] = self._task(name, first[name], inputs, done)
        finally:
            for name, task in last.items():
                self._at_the_end(name, task, inputs)
        return _outputs(component["dag"].get("outputs", {}), done)

    def _at_the_end(self, name: str, task: Mapping[str, Any], inputs: Values) -> None:
        """Run a task that comes last whatever became of the others; a backend hooks it onto their group."""
        (group,) = task["dependentTasks"]
        hook = replace(self, place=f"{self.place}.{group}.onExit")
        if self.watcher is not None:
            self.watcher.hook(hook.place, name)
        hook._task(name, task, inputs, {})

    def _task(self, name: str, task: Mapping[str, Any], inputs: Values, done: Mapping[str, Values]) -> Values:
        component = self.spec["components"][task["componentRef"]["name"]]
        given = self._given(task, inputs, done)
        if "condition" in task.get("triggerPolicy", {}) and not _holds(task["triggerPolicy"]["condition"], given):
            return Values()
        if "executorLabel" in component:
            return self._step(name, component, task, given)
        path = self.path if name.startswith(_EXIT_HANDLER) else f"{self.path}{name}/"
        inner = replace(self, path=path, place=f"{self.place}.{name}")
        if "parameterIterator" not in task:
            self._entered(inner.place, task, component, None)
            return inner.run(component, given)
        iterator = task["parameterIterator"]
        items = iterator["items"]
        found = given.parameters[items["inputParameter"]] if "inputParameter" in items else json.loads(items["raw"])
        self._entered(inner.place, task, component, len(found))
        parts = []
        for number, item in enumerate(found):
            within = Values(parameters=given.parameters | {iterator["itemInput"]: item}, artifacts=given.artifacts)
            place = f"{inner.place}.iteration-iterations({number}:{number}).iteration-item"
            word = item if isinstance(item, str) else number
            parts.append(replace(self, path=f"{self.path}{word}/", place=place).run(component, within))
        return _collected(parts)

    def _entered(self, place: str, task: Mapping[str, Any], component: Mapping[str, Any], items: int | None) -> None:
        if self.watcher is not None:
            self.watcher.group(place, task, component, items)

    def _given(self, task: Mapping[str, Any], inputs: Values, done: Mapping[str, Values]) -> Values:
        wanted = task.get("inputs", {})
        given = Values()
        for name, source in wanted.get("parameters", {}).items():
            (kind, value) = next((k, v) for k, v in source.items() if k != "parameterExpressionSelector")
            if kind == "componentInputParameter":
                if value in inputs.parameters:
                    given.parameters[name] = inputs.parameters[value]
            elif kind == "taskOutputParameter":
                given.parameters[name] = done[value["producerTask"]].parameters[value["outputParameterKey"]]
            else:
                assert kind == "runtimeValue", f"{name}: {kind} is not understood here"
                given.parameters[name] = value["constant"]
            if "parameterExpressionSelector" in source:
                selected = _SELECTOR.fullmatch(source["parameterExpressionSelector"])
                assert selected, f"{name}: {source} is not understood here"
                given.parameters[name] = given.parameters[name][selected[1]]
        for name, value in given.parameters.items():
            given.parameters[name] = self._filled(value, given.parameters)
        for name, source in wanted.get("artifacts", {}).items():
            if "componentInputArtifact" in source:
                given.artifacts[name] = inputs.artifacts[source["componentInputArtifact"]]
            else:
                producer = source["taskOutputArtifact"]
                given.artifacts[name] = done[producer["producerTask"]].artifacts[producer["outputArtifactKey"]]
        return given

    def _filled(self, value: Any, parameters: Mapping[str, Any]) -> Any:
        if not isinstance(value, str):
            return value
        value = value.replace("{{$.pipeline_job_uuid}}", self.run_id)
        value = _INPUT.sub(lambda match: str(parameters[match.group(1)]), value)
        assert "{{$" not in value, f"{value}: not understood here"
        return value

    def _step(self, name: str, component: Mapping[str, Any], task: Mapping[str, Any], given: Values) -> Values:
        label = component["executorLabel"]
        step = Task(
            name=f"{self.path}{name}",
            component=component,
            container=self.spec["deploymentSpec"]["executors"][label]["container"],
            platform=self.platform.get(label, {}),
            tries=1 + int(task.get("retryPolicy", {}).get("maxRetryCount", 0)),
            given=given,
        )
        if self.watcher is not None:
            self.watcher.step(f"{self.place}.{name}", task, step)
        return self.run_step(step)


def _holds(condition: str, given: Values) -> bool:
    """Tell whether a condition on one parameter holds."""
    found = _CONDITION.fullmatch(condition)
    assert found, f"{condition}: not understood here"
    return (given.parameters[found["name"]] == found["value"]) != bool(found["not"])


def _with_defaults(component: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    declared = component.get("inputDefinitions", {}).get("parameters", {})
    unknown = set(given) - set(declared)
    assert not unknown, f"no such parameters: {unknown}"
    values = dict(given)
    for name, fields in declared.items():
        if name not in values:
            assert "defaultValue" in fields or fields.get("isOptional"), f"{name}: no value"
            if "defaultValue" in fields:
                values[name] = fields["defaultValue"]
    return values


def _outputs(declared: Mapping[str, Any], done: Mapping[str, Values]) -> Values:
    found = Values()
    for name, fields in declared.get("artifacts", {}).items():
        found.artifacts[name] = [
            item
            for one in fields["artifactSelectors"]
            for item in done[one["producerSubtask"]].artifacts[one["outputArtifactKey"]]
        ]
    for name, fields in declared.get("parameters", {}).items():
        one = fields["valueFromParameter"]
        found.parameters[name] = done[one["producerSubtask"]].parameters[one["outputParameterKey"]]
    return found


def _collected(parts: list[Values]) -> Values:
    """Put the outputs of a loop's rounds together, in the order of its items."""
    found = Values()
    for part in parts:
        for name, items in part.artifacts.items():
            found.artifacts.setdefault(name, []).extend(items)
        for name, value in part.parameters.items():
            found.parameters.setdefault(name, []).append(value)
    return found
