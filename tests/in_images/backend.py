"""Run a compiled pipeline as KFP's backend does, each step in a container with nothing but what its pod would get.

kfp.local's DockerRunner does not do for this: it takes a step that fails at once for done, gives every step the same
environment, so that a secret which the compiled file forgot is there all the same, and shares one folder among them.
Here a step gets its command from the first document of the compiled file; user, secrets, settings and folders from the
second; its artifacts from the object store, into folders of its own that go away with it.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.in_images.objects import Objects
from tests.in_images.pod import Pod
from tests.services.compiled_pipelines import Task, Values, run_compiled

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
        return run_compiled(
            self.file, arguments, run_id=self.run, run_step=lambda task: _StepRun(backend=self, task=task).run()
        )


@dataclass(frozen=True, kw_only=True)
class _StepRun:
    """One step: launcher and pod."""

    backend: Backend
    task: Task

    @property
    def name(self) -> str:
        return self.task.name

    def run(self) -> Values:
        folder = self.backend.work / f"{len(self.backend.steps):02d}-{self.name.replace('/', '-')}"
        codes: list[int] = []
        seconds = 0.0
        image = str(self.task.container["image"])
        while not codes or (codes[-1] and len(codes) < self.task.tries):
            attempt = folder / f"try-{len(codes)}"
            request = self._request()
            environment = {"KFP_RETRY_INDEX": str(len(codes))} if self.task.tries > 1 else {}
            mounted, variables = self._mounted(folder / f"mounted-{len(codes)}")
            self._bring(attempt)
            pod = Pod(
                image=image,
                command=[
                    *self.task.container["command"],
                    *(self._word(word, request) for word in self.task.container["args"]),
                ],
                environment=environment,
                folders={"/s3": attempt / "s3", "/tmp": attempt / "tmp"},
                files=mounted,
                memory_folders=[
                    m["mountPath"] for m in self.task.platform.get("emptyDirMounts", ()) if m["mountPath"] != "/tmp"
                ],
            )
            log = folder / f"log-{len(codes)}.txt"
            code, took = pod.run(f"flprivacy-{self.backend.run}-{len(self.backend.steps):02d}-{len(codes)}", log)
            codes.append(code)
            seconds += took
        step = Step(
            name=self.name,
            image=image,
            variables=tuple(sorted((*environment, *variables))),
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
        for one in (attempt, *folder.glob("mounted-*")):  # a pod's folders go with it
            shutil.rmtree(one)
        return outputs

    @staticmethod
    def _word(word: str, request: Mapping[str, Any]) -> str:
        return json.dumps(request) if word == "{{$}}" else word

    def _mounted(self, folder: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
        """Write what the second document of the compiled file mounts, a file each; return path -> folder, and names."""
        found: dict[str, Path] = {}
        names: list[str] = []
        for kind, where, key in (
            ("configMapAsVolume", self.backend.namespace.config_maps, "configMap"),
            ("secretAsVolume", self.backend.namespace.secrets, "secret"),
        ):
            for entry in self.task.platform.get(kind, ()):
                name = entry[f"{key}Name"]
                values = where.get(name, {})
                assert values or entry.get("optional"), f"{self.name}: no {kind} {name}"
                place = found.setdefault(entry["mountPath"], folder / name)
                place.mkdir(parents=True)
                for variable, value in values.items():
                    (place / variable).write_text(value)
                names += values
        return found, tuple(names)

    def _request(self) -> dict[str, Any]:
        """Return the executor input, as the launcher writes it."""
        inputs: dict[str, Any] = {"parameterValues": self.task.parameters()}
        inputs["artifacts"] = {name: {"artifacts": items} for name, items in self.task.given.artifacts.items()}
        outputs = self.task.component.get("outputDefinitions", {})
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
        for items in self.task.given.artifacts.values():
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
        missing = set(self.task.component.get("outputDefinitions", {}).get("parameters", {})) - set(outputs.parameters)
        assert not missing, f"{self.name}: ended with 0, but without {missing}"
        return outputs
