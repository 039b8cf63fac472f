"""Run the real command line in a process of its own, and watch or kill its steps."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TINY = Path(__file__).with_name("tiny.yaml")
# A number on the command line passes through a pipeline parameter, where KFP makes a float of it.
STUDY = ("run", "study", "--preset", str(TINY), "--set", "attack.batch_size=24")
_DEADLINE_SECONDS = 540


def _environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "FLPRIVACY_"))}
    return kept | {"FLPRIVACY_HOME": str(home), "COLUMNS": "140"}


def flprivacy(home: Path, *words: str, cwd: Path | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run ``flprivacy`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "flprivacy.cli", *words],
        env=_environment(home) | extra,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=_DEADLINE_SECONDS,
        check=False,
    )


def events(home: Path) -> list[dict[str, Any]]:
    """Return the events of the latest run in a home folder, in order of time."""
    runs = sorted((home / "runs").glob("*/events"))
    lines = [line for file in (runs[-1].glob("*.jsonl") if runs else ()) for line in file.read_text().splitlines()]
    return sorted((json.loads(line) for line in lines if line.endswith("}")), key=lambda e: float(e["time"]))


def kill_when(home: Path, happened: Callable[[dict[str, Any]], bool], *words: str) -> bool:
    """Start ``flprivacy``, SIGKILL the step of the first event that fits and the whole run; False if none came."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flprivacy.cli", *words],
        env=_environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    known = set((home / "runs").glob("*"))
    started = time.monotonic()
    while process.poll() is None and time.monotonic() - started < _DEADLINE_SECONDS:
        fresh = set((home / "runs").glob("*")) - known
        if fresh and any(happened(e) for e in events(home)):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.02)
    return False
