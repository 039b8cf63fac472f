"""What the cases of a conformance run share: the command line against an installation, and what they published."""

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flprivacy.cohorts.metadata import read_meta

_HUGE = 4_000  # channels: 160 MB for a scan of 10,000 voxels
WITHOUT_GPU = {"train_gpus": "0", "train_cpu": "1", "train_memory": "2Gi", "work_cpu": "1", "work_memory": "2Gi"}
SMALL = tuple(word for name, value in WITHOUT_GPU.items() for word in ("--param", f"{name}={value}"))


class NotConformingError(Exception):
    """An installation does not do what it should; the text says what it did."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command that ended."""

    code: int
    output: str
    seconds: float

    def need(self, *words: str, code: int = 0, within_seconds: float = 0.0) -> str:
        """Return the output of a command that ended with this code, said these words and took no longer.

        Raises:
            NotConformingError: it did not.
        """
        text = " ".join(self.output.split())
        lacking = [word for word in words if word not in text]
        if self.code != code or lacking:
            last = " / ".join(self.output.strip().splitlines()[-3:])
            what = f"exit code {self.code} instead of {code}" if self.code != code else f"does not say {lacking[0]!r}"
            raise NotConformingError(f"{what}: {last}")
        if within_seconds and self.seconds > within_seconds:
            raise NotConformingError(f"took {self.seconds:.0f} s instead of {within_seconds:.0f}")
        return self.output


def run_command(words: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run ``flprivacy`` in a process of its own; return its exit code and all that it printed."""
    command = [sys.executable, "-m", "flprivacy.cli", *words]
    told = subprocess.run(
        command,
        env=os.environ | dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return told.returncode, told.stdout


@dataclass(kw_only=True)
class Installation:
    """An installation, and what was published for it.

    Attributes:
        store: URI below which everything of this run is kept.
        command: runs the command line.
        work: a folder of this machine.
        name: of this run, part of the names of all that it makes.
    """

    store: str
    command: Callable[[Sequence[str], Mapping[str, str]], tuple[int, str]] = run_command
    work: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="flprivacy-conformance-")))
    name: str = field(default_factory=lambda: f"conformance-{uuid.uuid4().hex[:8]}")
    published: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str) -> Done:
        """Run a command of flprivacy, whose home folder is that of this run."""
        began = time.monotonic()
        code, output = self.command(words, {"FLPRIVACY_HOME": str(self.work / "home"), "COLUMNS": "200"})
        return Done(code=code, output=output, seconds=time.monotonic() - began)

    def submit(self, pipeline: str, *words: str, small: Sequence[str] = SMALL) -> Done:
        """Submit a run in its smallest form, without GPUs, and wait for its end."""
        return self.run("submit", pipeline, "--store", self.store, *small, *words)

    def publish(self) -> dict[str, str]:
        """Make a tiny cohort and three targets on this machine, publish them, and return their URIs by name; once.

        ``damaged`` is a folder whose weights are not what its record says, ``huge`` a network of one layer whose
        answers to a batch of scans fill gibibytes.
        """
        if not self.published:
            self.run("run", "study", "--preset", "quick").need()
            store = self.work / "home" / "store"
            (cohort,) = (store / "cohort").iterdir()
            target = next(one for one in (store / "target").iterdir() if _name(one) == "central")
            uris = {name: f"{self.store}/published/{name}" for name in ("cohort", "central")}
            self.run("cohort", "push", str(cohort), uris["cohort"]).need()
            self.run("target", "push", str(target), uris["central"]).need()
            self.published = uris | {"damaged": self._push_damaged(target), "huge": self._push_huge(cohort)}
        return self.published

    def _push_damaged(self, target: Path) -> str:
        from flprivacy.storage.objects import open_objects

        uri = f"{self.store}/published/damaged"
        for file in (one for one in target.iterdir() if one.is_file()):
            copy = self.work / file.name
            copy.write_bytes(file.read_bytes()[:-1] + b"?" if file.suffix == ".h5" else file.read_bytes())
            open_objects(uri).upload(copy, f"{uri}/{file.name}")
        return uri

    def _push_huge(self, cohort: Path) -> str:
        import keras  # imports a backend

        from flprivacy.storage.objects import open_objects

        meta = read_meta(cohort)
        scan = keras.Input((*meta.shape, 1))
        wide = keras.layers.Conv3D(_HUGE, 1, activation="relu")(scan)
        features = keras.layers.GlobalAveragePooling3D(name="features")(wide)
        answers = keras.layers.Dense(len(meta.class_names), activation="softmax")(features)
        file, uri = self.work / "huge.keras", f"{self.store}/published/huge.keras"
        keras.Model(scan, answers).save(file)
        open_objects(uri).upload(file, uri)
        return f"{uri},feature_layer=features"


def _name(folder: Path) -> str:
    return str(json.loads((folder / "target.json").read_text())["name"])
