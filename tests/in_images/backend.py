"""Run a compiled pipeline as KFP's backend does, each step in a container with nothing but what its pod would get.

kfp.local's DockerRunner does not do for this: it takes a step that fails at once for done, gives every step the same
environment, so that a secret which the compiled file forgot is there all the same, and shares one folder among them.
Here a step gets its command from the first document of the compiled file; user, secrets, settings and folders from the
second; its artifacts from the object store, into folders of its own that go away with it.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from tests.in_images.objects import Objects
from tests.in_images.pod import USER, Pod

_INPUT = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")
_METADATA = "/tmp/kfp_outputs/output_metadata.json"
_LAST_LINES = 25


class StepError(Exception):
    """A step ended with another exit code than 0; the message holds the end of its log."""


@dataclass(frozen=True, kw_only=True)
class Namespace:
    """What the cluster's administrator has put into the steps' namespace, by name and key."""

    config_maps: Mapping[str, Mapping[str, str]]
    secrets: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step that ran: its name with the loops' items, image, variables by name, exit codes of its tries, seconds."""

    name: str
    image: str
    variables: tuple[str, ...]
    exit_codes: tuple[int, ...]
    seconds: float
    log: Path


@dataclass(kw_only=True)
class Values:
    """Parameters by name, and artifacts by name: each a list, which holds one unless it was collected from a loop."""

    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Runs compiled pipelines.

    Attributes:
        file: the compiled pipeline.
        run: id of the pipeline run.
        root: URI under which artifacts go.
        namespace: settings and secrets.
        objects: the object store.
        work: folder of this machine for the pods' folders and logs.
        say: told of each step that ended.
        steps: those that ran, in order.
    """

    file: Path
    run: str
    root: str
    namespace: Namespace
    objects: Objects
    work: Path
    say: Callable[[str], None]
    steps: list[Step] = field(default_factory=list)

    def run_pipeline(self, arguments: Mapping[str, Any]) -> Values:
        """Run all steps in the order of their dependencies, and return the pipeline's outputs.

        Raises:
            StepError: a step failed as often as it may be tried.
        """
        spec, platform = yaml.safe_load_all(self.file.read_text())
        executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        inputs = Values(parameters=_with_defaults(spec["root"], arguments))
        return _Dag(self, spec, executors, "").run(spec["root"], inputs)


@dataclass(frozen=True)
class _Dag:
    """One level of a pipeline: its tasks see its inputs and each other's outputs."""

    backend: Backend
    spec: dict[str, Any]
    platform: dict[str, Any]
    path: str

    def run(self, component: Mapping[str, Any], inputs: Values) -> Values:
        tasks = component["dag"]["tasks"]
        done: dict[str, Values] = {}
        while len(done) < len(tasks):
            ready = [n for n in tasks if n not in done and set(tasks[n].get("dependentTasks", ())) <= set(done)]
            assert ready, f"{self.path}: tasks wait for each other"
            for name in ready:
                done[name] = self._task(name, tasks[name], inputs, done)
        return _outputs(component["dag"].get("outputs", {}), done)

    def _task(self, name: str, task: Mapping[str, Any], inputs: Values, done: Mapping[str, Values]) -> Values:
        assert "triggerPolicy" not in task, f"{name}: conditions are not run here"
        component = self.spec["components"][task["componentRef"]["name"]]
        given = self._given(task, inputs, done)
        if "executorLabel" in component:
            return self._step(name, component, task, given)
        inner = replace(self, path=f"{self.path}{name}/")
        if "parameterIterator" not in task:
            return inner.run(component, given)
        iterator = task["parameterIterator"]
        items = iterator["items"]
        found = given.parameters[items["inputParameter"]] if "inputParameter" in items else json.loads(items["raw"])
        parts = []
        for item in found:
            within = Values(parameters=given.parameters | {iterator["itemInput"]: item}, artifacts=given.artifacts)
            parts.append(replace(self, path=f"{self.path}{item}/").run(component, within))
        return _collected(parts)

    def _given(self, task: Mapping[str, Any], inputs: Values, done: Mapping[str, Values]) -> Values:
        wanted = task.get("inputs", {})
        given = Values()
        for name, source in wanted.get("parameters", {}).items():
            (kind, value) = next((k, v) for k, v in source.items())
            if kind == "componentInputParameter":
                if value in inputs.parameters:
                    given.parameters[name] = inputs.parameters[value]
            elif kind == "taskOutputParameter":
                given.parameters[name] = done[value["producerTask"]].parameters[value["outputParameterKey"]]
            else:
                assert kind == "runtimeValue", f"{name}: {kind} is not understood here"
                given.parameters[name] = value["constant"]
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
        value = value.replace("{{$.pipeline_job_uuid}}", self.backend.run)
        value = _INPUT.sub(lambda match: str(parameters[match.group(1)]), value)
        assert "{{$" not in value, f"{value}: not understood here"
        return value

    def _step(self, name: str, component: Mapping[str, Any], task: Mapping[str, Any], given: Values) -> Values:
        label = component["executorLabel"]
        container = self.spec["deploymentSpec"]["executors"][label]["container"]
        return _StepRun(
            backend=self.backend,
            name=f"{self.path}{name}",
            component=component,
            container=container,
            platform=self.platform.get(label, {}),
            tries=1 + int(task.get("retryPolicy", {}).get("maxRetryCount", 0)),
            given=given,
        ).run()


@dataclass(frozen=True, kw_only=True)
class _StepRun:
    """One step: launcher and pod."""

    backend: Backend
    name: str
    component: Mapping[str, Any]
    container: Mapping[str, Any]
    platform: Mapping[str, Any]
    tries: int
    given: Values

    def run(self) -> Values:
        folder = self.backend.work / f"{len(self.backend.steps):02d}-{self.name.replace('/', '-')}"
        codes: list[int] = []
        seconds = 0.0
        image = str(self.container["image"])
        while not codes or (codes[-1] and len(codes) < self.tries):
            attempt = folder / f"try-{len(codes)}"
            request = self._request()
            environment = self._environment() | ({"KFP_RETRY_INDEX": str(len(codes))} if self.tries > 1 else {})
            self._bring(attempt)
            pod = Pod(
                image=image,
                command=[*self.container["command"], *(self._word(word, request) for word in self.container["args"])],
                environment=environment,
                folders={"/s3": attempt / "s3", "/tmp": attempt / "tmp"},
                memory_folders=[m["mountPath"] for m in self.platform.get("emptyDirMounts", ())],
            )
            log = folder / f"log-{len(codes)}.txt"
            code, took = pod.run(f"flprivacy-{self.backend.run}-{len(self.backend.steps):02d}-{len(codes)}", log)
            codes.append(code)
            seconds += took
        step = Step(
            name=self.name,
            image=image,
            variables=tuple(sorted(environment)),
            exit_codes=tuple(codes),
            seconds=seconds,
            log=log,
        )
        self.backend.steps.append(step)
        self.backend.say(f"{seconds:6.1f} s  {image:22} {self.name}" + (f"  exit codes {codes}" if any(codes) else ""))
        if codes[-1]:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
            raise StepError(f"{self.name} ended with {codes[-1]}:\n{tail}")
        outputs = self._take(attempt, request)
        shutil.rmtree(attempt)  # a pod's folders go with it
        return outputs

    @staticmethod
    def _word(word: str, request: Mapping[str, Any]) -> str:
        return json.dumps(request) if word == "{{$}}" else word

    def _environment(self) -> dict[str, str]:
        """Return the variables that the second document of the compiled file asks for."""
        security = self.platform["securityContext"]
        assert (int(security["runAsUser"]), int(security["runAsGroup"])) == (USER, USER), self.name
        assert security["runAsNonRoot"] is True, self.name
        found = {}
        for kind, where, key in (
            ("configMapAsEnv", self.backend.namespace.config_maps, "configMap"),
            ("secretAsEnv", self.backend.namespace.secrets, "secret"),
        ):
            for entry in self.platform.get(kind, ()):
                values = where.get(entry[f"{key}Name"], {})
                assert values or entry.get("optional"), f"{self.name}: no {kind} {entry[f'{key}Name']}"
                for pair in entry["keyToEnv"]:
                    if pair[f"{key}Key"] in values:
                        found[pair["envVar"]] = values[pair[f"{key}Key"]]
        return found

    def _request(self) -> dict[str, Any]:
        """Return the executor input, as the launcher writes it."""
        declared = self.component.get("inputDefinitions", {})
        known = {n: v for n, v in self.given.parameters.items() if n in declared.get("parameters", {})}
        inputs: dict[str, Any] = {"parameterValues": _with_defaults(self.component, known)}
        inputs["artifacts"] = {name: {"artifacts": items} for name, items in self.given.artifacts.items()}
        outputs = self.component.get("outputDefinitions", {})
        return {
            "inputs": inputs,
            "outputs": {
                "outputFile": _METADATA,
                "parameters": {n: {"outputFile": f"/tmp/kfp/outputs/{n}"} for n in outputs.get("parameters", {})},
                "artifacts": {
                    n: {"artifacts": [self._new_artifact(n, fields["artifactType"])]}
                    for n, fields in outputs.get("artifacts", {}).items()
                },
            },
        }

    def _new_artifact(self, name: str, kind: Mapping[str, Any]) -> dict[str, Any]:
        uri = f"{self.backend.root}/{self.backend.run}/{len(self.backend.steps):02d}-{self.name.replace('/', '-')}"
        return {"name": name, "type": dict(kind), "uri": f"{uri}/{name}", "metadata": {}}

    def _bring(self, folder: Path) -> None:
        """Make the pod's folders, with the artifacts that the step reads."""
        for inside in ("s3", "tmp/kfp/outputs", "tmp/kfp_outputs"):
            (folder / inside).mkdir(parents=True)
        for items in self.given.artifacts.values():
            for item in items:
                path = folder / "s3" / item["uri"].removeprefix("s3://")
                if not path.exists():
                    self.backend.objects.bring(item["uri"], path)
        for fields in self._request()["outputs"]["artifacts"].values():
            path = folder / "s3" / fields["artifacts"][0]["uri"].removeprefix("s3://")
            path.parent.mkdir(parents=True, exist_ok=True)

    def _take(self, folder: Path, request: Mapping[str, Any]) -> Values:
        """Take the artifacts that the step wrote to the object store, and return its outputs."""
        outside = folder / _METADATA.removeprefix("/")
        assert outside.is_file(), f"{self.name}: ended with 0, but wrote no outputs"
        said = json.loads(outside.read_text())
        outputs = Values(parameters=dict(said.get("parameterValues", {})))
        for name, fields in request["outputs"]["artifacts"].items():
            item = dict(fields["artifacts"][0])
            for written in said.get("artifacts", {}).get(name, {}).get("artifacts", ()):
                item["metadata"] = written.get("metadata", {})
            path = folder / "s3" / item["uri"].removeprefix("s3://")
            if path.exists():
                self.backend.objects.take(path, item["uri"])
            outputs.artifacts[name] = [item]
        missing = set(self.component.get("outputDefinitions", {}).get("parameters", {})) - set(outputs.parameters)
        assert not missing, f"{self.name}: ended with 0, but without {missing}"
        return outputs


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
