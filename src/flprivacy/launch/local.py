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
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

import flprivacy
from flprivacy.core.digests import digest_file, digest_json
from flprivacy.core.errors import EXIT_DEFECT, FlprivacyError, StorageError
from flprivacy.core.events import ENVIRONMENT_VARIABLE
from flprivacy.core.tensorflow_environment import numeric_settings, share_cores
from flprivacy.launch.compiled import CompiledPipeline, without_retries
from flprivacy.launch.progress import Watch
from flprivacy.storage.code_fingerprint import fingerprint
from flprivacy.storage.places import home

_LOG_FILE = "log.txt"
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
    """A step refused or broke; the message is the step's own line, or names the log, the exit code is the step's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


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


def run_local(pipeline: CompiledPipeline, parameters: Mapping[str, Any], screen: Console) -> LocalRun:
    """Run a compiled pipeline to its end while showing its steps on the screen.

    PipelineError if a step refused or broke, and there are no results; StorageError if the home folder is not writable.
    """
    run = _run_folder(pipeline.name)
    os.environ[ENVIRONMENT_VARIABLE] = str(run / "events")
    default_tracking()
    share_cores(_STEPS_AT_ONCE)
    watch = Watch(run / "events", screen)
    outcome: Future[None] = Future()
    worker = threading.Thread(
        target=_run_pipeline, args=(pipeline.file, parameters, run, outcome), name="kfp.local", daemon=True
    )
    try:
        with watch.drawing():
            worker.start()
            while not outcome.done():
                watch.update()
                time.sleep(_POLL_SECONDS)
    finally:
        _end_steps(watch)
    if watch.failed:  # kfp.local would hand a recorded failure on to the next run
        shutil.rmtree(_cache_folder(pipeline.file), ignore_errors=True)
    broke, log = outcome.exception(), run / _LOG_FILE
    error = None if broke is None else _failure(broke, watch, log)
    if error is not None and not watch.results:
        raise error
    return LocalRun(
        outputs={name: Path(folder) for name, folder in watch.results.items()},
        log=log,
        notes=tuple(watch.notes),
        warnings=tuple(watch.warnings),
        error=error,
    )


def _run_pipeline(file: Path, parameters: Mapping[str, Any], run: Path, outcome: "Future[None]") -> None:
    """Run the pipeline with kfp.local, its output going to the run's log."""
    try:
        from kfp import components, local

        with (
            (run / _LOG_FILE).open("w", buffering=1) as stream,
            contextlib.redirect_stdout(stream),
            contextlib.redirect_stderr(stream),
        ):
            local.init(
                local.SubprocessRunner(use_venv=False),
                pipeline_root=str(run / "artifacts"),
                enable_caching=True,
                cache_root=str(_cache_folder(file)),
            )
            components.load_component_from_text(without_retries(file))(**parameters)
    except BaseException as error:  # noqa: BLE001 - handed to the main thread, which raises
        outcome.set_exception(error)
    else:
        outcome.set_result(None)


def _end_steps(watch: Watch) -> None:
    """Stop the steps that still run, and close what a stopped or killed step left open in MLflow."""
    left = watch.running()
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    if any(name.startswith(("log_mlflow", "report_audit")) for name in left.values()):
        from flprivacy.tracking.attempts import close_runs_of_dead_processes

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
        return PipelineError(*watch.errors[0])
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LAST_LINES:]) if log.exists() else ""
    text = f"{log}: a step broke ({error}); this is a defect of flprivacy, please report it with\n{tail}"
    return PipelineError(text, EXIT_DEFECT)


def _cache_folder(file: Path) -> Path:
    return home() / "cache" / digest_json([fingerprint(_packages()), digest_file(file), numeric_settings()])[:16]


def _packages() -> tuple[str, ...]:
    return tuple(sorted(file.parent.name for file in Path(flprivacy.__file__).parent.glob("*/__init__.py")))
