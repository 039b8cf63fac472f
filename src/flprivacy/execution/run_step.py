"""What surrounds every step in its container: logging, events for whoever watches, errors as one line."""

import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

from flprivacy.core.errors import EXIT_DEFECT, FlprivacyError, ended_with
from flprivacy.core.events import emit
from flprivacy.core.extras import naming_extras

R = TypeVar("R")
LAST_WORDS = Path("/dev/termination-log")  # the container's terminationMessagePath
_MOST_LETTERS = 3000  # Kubernetes keeps 4096 bytes
TERMINATED = 128 + signal.SIGTERM  # the exit code of a step that was asked to stop
MOUNTED = Path("/etc/flprivacy")  # a folder for the ConfigMap and one for each Secret
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_said: list[str] = []


def run_step(function: Callable[..., R], arguments: Mapping[str, Any]) -> R:
    """Call a step's function inside its container.

    An error that the user can mend ends the process with one line and the error's exit code, without a traceback; any
    other exception is a defect of ours and keeps its traceback (exit code 1).
    """
    name = function.__name__
    begin_step(name)
    try:
        with naming_extras():
            result = function(**arguments)
    except FlprivacyError as error:
        refuse(name, "", error)
    except Exception as error:
        leave_last_words(f"{name} broke: {type(error).__name__}; its log says where")
        raise
    emit("done", step=name, detail="")
    return result


def set_process_up() -> None:
    """Set logging and signals up.

    A process that is stopping hears SIGTERM no more: where a whole group of processes is asked to stop, one that
    another began is asked by that as well, in the middle of closing what is under way.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it is not ignored
        signal.signal(signal.SIGINT, _interrupt)


def begin_step(name: str, detail: str = "") -> None:
    """Set the process up, and tell whoever watches that the step begins."""
    set_process_up()
    emit("step", step=name, detail=detail)


@contextmanager
def part_of_step(name: str) -> Iterator[None]:
    """Show what the block does, a part of the step under way, as a step of that name to whoever watches."""
    emit("step", step=name, detail="")
    yield
    emit("done", step=name, detail="")


def refuse(name: str, detail: str, error: FlprivacyError) -> NoReturn:
    """End the process with one line and the error's exit code."""
    emit("error", step=name, detail=detail, message=str(error), code=error.exit_code)
    leave_last_words(str(error), error.exit_code)
    sys.stderr.write(f"flprivacy: {name}: {error}\n")
    raise SystemExit(error.exit_code) from None


def leave_last_words(message: str, code: int = EXIT_DEFECT) -> None:
    """Write a line where Kubernetes reads why a container ended; elsewhere there is no such place.

    The line ends with the exit code, which Kubeflow's launcher replaces by 1.
    """
    line = " ".join(message.split())[:_MOST_LETTERS]
    _said.append(line)
    if LAST_WORDS.is_file():
        LAST_WORDS.write_text(f"{line} {ended_with(code)}\n")


def last_words() -> str:
    """Return the line that this process left last; empty if it left none."""
    return _said[-1] if _said else ""


def _terminate(number: int, frame: FrameType | None) -> None:
    """End by an exception, so that what is under way is closed (an MLflow run, a half-written file)."""
    signal.signal(signal.SIGTERM, _is_stopping)
    leave_last_words("was asked to stop (SIGTERM): its pod was deleted, or its node goes away", TERMINATED)
    raise SystemExit(TERMINATED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, _is_stopping)
    raise KeyboardInterrupt


def _is_stopping(number: int, frame: FrameType | None) -> None:
    """Do nothing."""


def read_mounted(root: Path = MOUNTED) -> None:
    """Set the environment variables that files below ``root`` are named after, unless they are set already.

    Variables of the pod's own would be shorter, but every node of a run repeats a step's pod several times: at a
    hundred targets that alone would fill what Kubernetes stores of a run. And what another sets in the same container,
    as Kubeflow's MLflow plugin does, cannot make the pod invalid.
    """
    for file in sorted(root.glob("*/*")):
        if _VARIABLE.fullmatch(file.name) and file.is_file():
            os.environ.setdefault(file.name, file.read_text().strip())
