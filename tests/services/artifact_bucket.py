"""Run a compiled pipeline in this process as KFP's launcher runs its steps: artifacts go through a bucket of its own.

Each step has a disk of its own, as a pod has, and sees nothing of another's but the artifacts that are copied for it.
The bucket is a folder, so that it can be searched.
"""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from flprivacy.cohorts.format import read_volumes
from flprivacy.core.cohort import Cohort
from flprivacy.execution import container, parts
from flprivacy.execution.container import run_in_container
from flprivacy.execution.parts import PARTS_FILE
from tests.services.compiled_pipelines import Task, Values, run_compiled
from tests.whole_runs.planted_scans import files_below, search

ROOT = "s3://kfp/pipelines"
# What may lie in the bucket: sums over patients, names of targets, settings, and where the rest is. Metrics and the
# confusion matrix are metadata.
_RECORDS = ("found", "change", "audit", "dp_check", "generator_audit", "cohort", "place", "reference")
PUBLIC = frozenset(f"{name}.json" for name in _RECORDS) | {
    PARTS_FILE,
    "plan",
    "report.html",
    "verdicts.md",
    "verdicts",
    "page",
    "metrics",
    "confusion",
}


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
        metadata: likewise, name of artifact -> what the step told of it.
    """

    folder: Path
    disks: Path
    environment: Mapping[str, str]
    measured: Callable[[], int] = int
    grown: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, measured: Callable[[], int] = int, **environment: str) -> "ArtifactBucket":
        """Return an empty one below a folder."""
        for name in ("kfp", "disks"):
            (folder / name).mkdir()
        return cls(folder=folder / "kfp", disks=folder / "disks", environment=environment, measured=measured)

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
                _copy(self.path(item["uri"]), disk / "s3" / item["uri"].removeprefix("s3://"))
        self._execute(task, request, disk)
        written = json.loads(Path(request["outputs"]["outputFile"]).read_text())
        outputs = Values(parameters=dict(written.get("parameterValues", {})))
        for name, found in request["outputs"]["artifacts"].items():
            (item,) = found["artifacts"]
            told = written.get("artifacts", {}).get(name, {}).get("artifacts", [{}])[0]
            _copy(disk / "s3" / item["uri"].removeprefix("s3://"), self.path(item["uri"]))
            outputs.artifacts[name] = [item | {"metadata": told.get("metadata", {})}]
        shutil.rmtree(disk)
        self.metadata[task.name] = {name: items[0]["metadata"] for name, items in outputs.artifacts.items()}
        self.grown[task.name] = self.measured() - before
        return outputs

    def strange(self, *, but: Collection[str] = ()) -> set[str]:
        """Return the names of files that are neither PUBLIC nor figures; those of the steps named are passed over."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and not self._is_of(path, but))
        return {path.name for path in files if path.name not in PUBLIC and path.suffix != ".png"}

    def holders(self, words: Collection[bytes], *, but: Collection[str] = ()) -> set[str]:
        """Return the names of files that hold any of the words, as they are or packed."""
        pattern = re.compile(b"|".join(map(re.escape, sorted(words))))
        files = [one for one in files_below(self.folder) if not self._is_of(Path(str(one[0])), but)]
        assert words
        assert len(files) > 10
        return {str(where) for where in search(files, pattern)}

    def _is_of(self, path: Path, steps: Collection[str]) -> bool:
        return any(part.endswith(f"-{step}") for part in path.relative_to(self.folder).parts for step in steps)

    def path(self, uri: str) -> Path:
        """Return where an artifact is kept."""
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
        step = _step(task.container["args"][0])
        temporary = disk / "tmp"
        temporary.mkdir()
        root = Path(__file__).parents[2]
        variables = {"FLPRIVACY_HOME": str(disk / "home"), "PYTHONPATH": f"{root}/src:{root}", **self.environment}
        apart = (sys.executable, "-m", __name__, str(disk))
        with patch.dict("os.environ", variables), patch.object(parts, "_COMMAND", apart), _on_disk(disk):
            try:
                run_in_container(step, json.dumps(request))
            except SystemExit as ended:
                raise StepEndedError(f"{task.name} ended with {ended.code}") from ended


def _step(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(import_module(f"flprivacy.steps.{name}"), name)
    return found


@contextmanager
def _on_disk(disk: Path) -> Iterator[None]:
    """Let steps of this process see one disk alone."""
    mounts = patch.object(container, "_MOUNTS", {"s3://": f"{disk}/s3/"})
    with mounts, patch.object(tempfile, "tempdir", str(disk / "tmp")):
        yield


def _copy(source: Path, destination: Path) -> None:
    """Copy what there is, byte by byte, as through a network."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, destination, dirs_exist_ok=True)
    else:
        with suppress(FileNotFoundError):
            shutil.copyfile(source, destination)


def traces(cohort: Cohort) -> set[bytes]:
    """Return what would betray a cohort's patients: pseudonyms of scans and patients, and a piece of every volume."""
    names = {str(name).encode() for column in ("scan_id", "patient_id") for name in cohort.manifest[column]}
    volumes = read_volumes(cohort, np.arange(len(cohort.manifest))).reshape(len(cohort.manifest), -1)
    middle = volumes.shape[1] // 2
    pieces = {bytes(volume[middle : middle + 200]) for volume in volumes}
    return names | {piece for piece in pieces if len(set(piece)) > 20}


if __name__ == "__main__":  # a step on one of several targets, in a process of its own on their pod's disk
    with _on_disk(Path(sys.argv[1])):
        run_in_container(_step(sys.argv[2]), sys.argv[-1])
