"""Run a compiled pipeline in this process as KFP's launcher runs its steps: artifacts go through a bucket of its own.

Each step has a disk of its own, as a pod has, and sees nothing of another's but the artifacts that are copied for it.
The bucket is a folder, so that it can be searched.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from flprivacy.execution import container
from flprivacy.execution.container import run_in_container
from tests.services.compiled_pipelines import Task, Values, run_compiled

ROOT = "s3://kfp/pipelines"


class StepEndedError(Exception):
    """A step ended with another exit code than 0."""


@dataclass(frozen=True, kw_only=True)
class ArtifactBucket:
    """Runs compiled pipelines.

    Attributes:
        folder: the bucket, by the paths that its URIs have behind ``s3://``.
        disks: where steps have their own.
        environment: variables of every step.
        measured: called before and after each step; what it grew by is kept.
        grown: step, with the loops' items before it -> what ``measured`` grew by.
    """

    folder: Path
    disks: Path
    environment: Mapping[str, str]
    measured: Callable[[], int] = int
    grown: dict[str, int] = field(default_factory=dict)

    def run(self, file: Path, arguments: Mapping[str, Any]) -> Values:
        """Run all steps; StepEndedError if one does not end well."""
        return run_compiled(file, arguments, run_id=file.stem, run_step=self.run_step)

    def run_step(self, task: Task) -> Values:
        """Run one step on a disk of its own and return its outputs."""
        disk = Path(tempfile.mkdtemp(dir=self.disks))
        before = self.measured()
        request = self._request(task, disk)
        for items in request["inputs"]["artifacts"].values():
            for item in items["artifacts"]:
                _copy(self._kept(item["uri"]), disk / "s3" / item["uri"].removeprefix("s3://"))
        self._execute(task, request, disk)
        written = json.loads(Path(request["outputs"]["outputFile"]).read_text())
        outputs = Values(parameters=dict(written.get("parameterValues", {})))
        for name, found in request["outputs"]["artifacts"].items():
            (item,) = found["artifacts"]
            told = written.get("artifacts", {}).get(name, {}).get("artifacts", [{}])[0]
            _copy(disk / "s3" / item["uri"].removeprefix("s3://"), self._kept(item["uri"]))
            outputs.artifacts[name] = [item | {"metadata": told.get("metadata", {})}]
        shutil.rmtree(disk)
        self.grown[task.name] = self.measured() - before
        return outputs

    def _kept(self, uri: str) -> Path:
        return self.folder / uri.removeprefix("s3://")

    def _request(self, task: Task, disk: Path) -> dict[str, Any]:
        """Return the executor input, as the launcher writes it."""
        outputs = task.component.get("outputDefinitions", {}).get("artifacts", {})
        place = f"{ROOT}/{len(self.grown):02d}-{task.name.replace('/', '-')}"
        made = {
            name: {"artifacts": [{"name": name, "type": one["artifactType"], "uri": f"{place}/{name}", "metadata": {}}]}
            for name, one in outputs.items()
        }
        given = {name: {"artifacts": items} for name, items in task.given.artifacts.items()}
        return {
            "inputs": {"parameterValues": task.parameters(), "artifacts": given},
            "outputs": {"outputFile": str(disk / "outputs.json"), "artifacts": made},
        }

    def _execute(self, task: Task, request: Mapping[str, Any], disk: Path) -> None:
        name = task.container["args"][0]
        step = getattr(import_module(f"flprivacy.steps.{name}"), name)
        temporary = disk / "tmp"
        temporary.mkdir()
        variables = {**self.environment, "FLPRIVACY_HOME": str(disk / "home"), "FLPRIVACY_CACHE": ""}
        with (
            patch.dict("os.environ", variables | self.environment),
            patch.object(container, "_MOUNTS", {"s3://": f"{disk}/s3/"}),
            patch.object(tempfile, "tempdir", str(temporary)),
        ):
            try:
                run_in_container(step, json.dumps(request))
            except SystemExit as ended:
                raise StepEndedError(f"{task.name} ended with {ended.code}") from ended


def _copy(source: Path, destination: Path) -> None:
    """Copy what there is, byte by byte, as through a network."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, destination, dirs_exist_ok=True)
    else:
        with suppress(FileNotFoundError):
            shutil.copyfile(source, destination)
