"""Run a compiled pipeline on this machine with kfp.local: the same file that runs on a cluster."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

import flprivacy
from flprivacy.core.digests import digest_file, digest_json
from flprivacy.core.errors import ConfigError, FlprivacyError, StorageError
from flprivacy.core.events import ENVIRONMENT_VARIABLE, EventReader
from flprivacy.core.tensorflow_environment import numeric_settings, share_cores
from flprivacy.launch.watch import Watch
from flprivacy.storage.code_fingerprint import fingerprint
from flprivacy.storage.places import home

PIPELINES_VARIABLE = "FLPRIVACY_PIPELINES"
_ALL_PARTS = (
    "attacks",
    "auditing",
    "cohorts",
    "core",
    "execution",
    "models",
    "presets",
    "privacy",
    "reporting",
    "steps",
    "storage",
    "study",
    "targets",
    "training",
)
_POLL_SECONDS = 0.2
_STEPS_AT_ONCE = 2  # kfp.local's own limit, whatever a loop allows
_LAST_LINES = 15


@dataclass(frozen=True, kw_only=True)
class LocalRun:
    """Where a run left its results, by the names of the pipeline's outputs, and what its steps had to say.

    ``error`` is set if the run failed although it has results: the policy did not tolerate them, or a target failed.
    """

    outputs: dict[str, Path]
    log: Path
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    error: FlprivacyError | None = None


class PipelineError(FlprivacyError):
    """A step refused or broke; the message is the step's own line, or names the log."""


def compiled_pipeline(name: str) -> Path:
    """Return the compiled file of a pipeline.

    Raises:
        ConfigError: there is none of that name.
    """
    folder = Path(os.environ.get(PIPELINES_VARIABLE) or Path(flprivacy.__file__).with_name("pipelines"))
    path = folder / f"{name.replace('-', '_')}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise ConfigError(
            f"{path}: no such pipeline (found: {known}); choose one, or set {PIPELINES_VARIABLE} to the folder "
            "of compiled pipelines"
        )
    return path


def default_tracking() -> str:
    """Return the MLflow server: ``$MLFLOW_TRACKING_URI``, else a database in the home folder, which it then names."""
    home().mkdir(parents=True, exist_ok=True)
    return os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{home() / 'mlflow.db'}")


def serve_ui(host: str, port: int) -> int:
    """Serve the MLflow UI until interrupted; return its exit code."""
    uri = default_tracking()
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", uri, "--default-artifact-root", str(home() / "mlartifacts")]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return subprocess.run(command, env=environment, check=False).returncode


def run_local(pipeline: str, arguments: Mapping[str, Any], console: Console) -> LocalRun:
    """Run a compiled pipeline to its end while showing its steps.

    Args:
        pipeline: its name, such as ``study``.
        arguments: its parameters.
        console: where to show progress.

    Raises:
        PipelineError: a step refused or broke, and there are no results.
        StorageError: the home folder is not writable.
    """
    file = compiled_pipeline(pipeline)
    run = _run_folder(pipeline)
    log = run / "log.txt"
    os.environ[ENVIRONMENT_VARIABLE] = str(run / "events")
    default_tracking()
    share_cores(_STEPS_AT_ONCE)
    watch = Watch(EventReader(run / "events"), console)
    worker = _Worker(file, dict(arguments), run, log)
    try:
        with watch.drawing():
            worker.start()
            while worker.is_alive():
                watch.update()
                time.sleep(_POLL_SECONDS)
        worker.join()
    finally:
        _end_steps(watch)
    if watch.failed:  # kfp.local would hand a recorded failure on to the next run
        shutil.rmtree(_cache_folder(file), ignore_errors=True)
    error = None if worker.error is None else _failure(worker.error, watch, log)
    if error is not None and not watch.results:
        raise error
    return LocalRun(
        outputs={name: Path(folder) for name, folder in watch.results.items()},
        log=log,
        notes=tuple(watch.notes),
        warnings=tuple(watch.warnings),
        error=error,
    )


def _end_steps(watch: Watch) -> None:
    """Stop the steps that still run, and close what a stopped or killed step left open in MLflow."""
    left = watch.running()
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    if any(name.startswith("log_mlflow") for name in left.values()):
        from flprivacy.tracking import close_runs_of_dead_processes

        close_runs_of_dead_processes(wait_for=left)


def _run_folder(pipeline: str) -> Path:
    folder = home() / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{pipeline}"
    try:
        (folder / "events").mkdir(parents=True)
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot create this folder ({error.strerror}); set FLPRIVACY_HOME to a writable folder"
        ) from error
    return folder


def _failure(error: BaseException, watch: Watch, log: Path) -> FlprivacyError:
    if watch.errors:
        return PipelineError(watch.errors[0])
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
    return PipelineError(f"{log}: a step broke ({error}); this is a defect of flprivacy, please report it with\n{tail}")


def _cache_folder(file: Path) -> Path:
    return home() / "cache" / digest_json([fingerprint(_ALL_PARTS), digest_file(file), numeric_settings()])[:16]


class _Worker(threading.Thread):
    """Runs the pipeline with kfp.local, its output going to a log file."""

    def __init__(self, file: Path, arguments: dict[str, Any], run: Path, log: Path) -> None:
        super().__init__(name="kfp.local", daemon=True)
        self.error: BaseException | None = None
        self._file, self._arguments, self._folder, self._log = file, arguments, run, log

    def run(self) -> None:
        with self._log.open("w", buffering=1) as stream:
            try:
                with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
                    self._run_pipeline()
            except BaseException as error:  # noqa: BLE001 - handed to the main thread, which raises
                self.error = error

    def _run_pipeline(self) -> None:
        from kfp import components, local

        local.init(
            local.SubprocessRunner(use_venv=False),
            pipeline_root=str(self._folder / "artifacts"),
            enable_caching=True,
            cache_root=str(_cache_folder(self._file)),
        )
        pipeline = components.load_component_from_text(without_retries(self._file.read_text()))
        pipeline(**self._arguments)


def without_retries(compiled: str) -> str:
    """Return a compiled pipeline whose steps are tried once: on one machine the next try would fail the same way.

    The settings of Kubernetes, the second document, are left out as well; nothing here reads them.
    """
    spec = next(iter(yaml.load_all(compiled, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))))
    dags = [spec["root"], *spec["components"].values()]
    for task in (task for part in dags for task in part.get("dag", {}).get("tasks", {}).values()):
        task.pop("retryPolicy", None)
    return str(yaml.dump(spec, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False))
