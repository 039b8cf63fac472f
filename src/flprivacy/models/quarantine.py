"""Strangers' HDF5 files are walked through by another process before this one opens them.

See :mod:`flprivacy.models.hdf5_walk` for why and how. That process starts with the first file and stays, so that each
further one costs milliseconds.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from flprivacy.core.errors import TargetError

SECONDS = 5  # of processor time for one file; a large one takes a fraction of a second
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from flprivacy.models.hdf5_walk import main; main()"


def vet(path: Path, *, remedy: str, seconds: int = SECONDS) -> None:
    """Have a file walked through.

    Args:
        path: an HDF5 file.
        remedy: what to do about a bad one; ends the message.
        seconds: of processor time that the walk may take.

    Raises:
        TargetError: the file is missing or damaged, or HDF5's library cannot cope with it.
    """
    absolute = path.absolute()
    answer = _WALKERS.ask([str(absolute), remedy, seconds])
    if answer == signal.SIGXCPU:
        raise TargetError(f"{path}: HDF5's library does not come to an end with it within {seconds} s; {remedy}")
    if answer is None or isinstance(answer, int):
        raise TargetError(f"{path}: HDF5's library crashes over it; {remedy}")
    if answer:
        raise TargetError(answer.replace(str(absolute), str(path)))


class _Walkers:
    """The process that forks a walker for each file: started when first needed, and again in a fork of this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0

    def ask(self, question: list[str | int]) -> str | int | None:
        """Return the answer (:func:`flprivacy.models.hdf5_walk.main`); None if the process ended without one."""
        with self._lock:
            process = self._process if self._process is not None and self._owner == os.getpid() else _started()
            self._process = None  # until its answer is here: an interrupted question must not leave it to the next
            answer = _exchange(process, json.dumps(question))
            if answer is None:
                _end(process)
            else:
                self._process, self._owner = process, os.getpid()
            return answer

    def close(self) -> None:
        """End the process."""
        if self._process is not None and self._owner == os.getpid():
            _end(self._process)
            self._process = None


def _started() -> subprocess.Popen[str]:
    # Isolated, so that neither the working directory nor the environment says what is imported; one thread, because
    # threads and forks do not go together.
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _PROGRAM, *filter(None, sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    if _exchange(process, None) is None:
        _end(process)
        raise TargetError(
            f"the process that walks through weights files does not start (exit status {process.returncode}); make "
            "room for another Python process"
        )
    return process


def _exchange(process: subprocess.Popen[str], line: str | None) -> str | int | None:
    """Send a line, if any, and return what comes back; None if the process is gone."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the second process was started without pipes")
    try:
        if line is not None:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
        answer: str | int | None = json.loads(process.stdout.readline() or "null")
    except (BrokenPipeError, ValueError):  # it is gone, or no longer itself
        return None
    return answer


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


_WALKERS = _Walkers()
atexit.register(_WALKERS.close)
