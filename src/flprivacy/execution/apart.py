"""Work in a process of its own: training settles TensorFlow's kernels and threads for the rest of its process, and what
comes after it in the same one would be slower, and other bits than in one that found the target trained.
"""

import ctypes
import logging
import multiprocessing
import signal
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from flprivacy.core.errors import FlprivacyError
from flprivacy.core.extras import naming_extras
from flprivacy.core.tensorflow_environment import keep_freed_memory
from flprivacy.execution.run_step import TERMINATED, set_process_up

LOGGER = logging.getLogger(__name__)
TO_STOP_SECONDS = 25.0  # as long as Kubernetes is asked to wait for a pod
_PR_SET_PDEATHSIG = 1


class LostProcessError(RuntimeError):
    """A process ended without saying how its work went; the text says how it ended."""


def how_it_ended(code: int) -> str:
    """Return how a process ended by its exit code, or by the number of the signal that killed it, negative."""
    if code >= 0:
        return f"its process ended with code {code}; its log says where"
    why = "; if its node ran out of memory, give such steps more ('train_memory')" if code == -signal.SIGKILL else ""
    return f"its process was killed (signal {-code}){why}"


def do_apart(work: Callable[..., None], arguments: Mapping[str, Any]) -> None:
    """Call a function of a module in a new process, and wait for its end.

    Raises:
        FlprivacyError: what it raised. Of any other error the log has the traceback.
        LostProcessError: its process broke or was killed.
        SystemExit: it was asked to stop.
    """
    spawned = multiprocessing.get_context("spawn")
    here, there = spawned.Pipe(duplex=False)
    process = spawned.Process(target=_do, args=(there, work, dict(arguments)))
    process.start()
    there.close()
    try:
        error: FlprivacyError | None = here.recv()
        process.join()
    except EOFError:
        process.join()
        if process.exitcode == TERMINATED:
            raise SystemExit(TERMINATED) from None
        raise LostProcessError(how_it_ended(process.exitcode or 0)) from None
    except BaseException:  # this process is asked to stop: so is that one, which then keeps its checkpoints
        process.terminate()
        process.join(TO_STOP_SECONDS)
        if process.is_alive():  # else this one waits for it when it ends, however long that takes
            process.kill()
        raise
    if error is not None:
        raise error


def _do(told: Connection, work: Callable[..., None], arguments: Mapping[str, Any]) -> None:
    if sys.platform == "linux":  # nobody waits for it any more when the process that began it is gone
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    began_it = multiprocessing.parent_process()
    if began_it is None or not began_it.is_alive():  # gone while this one was loading
        raise SystemExit(1)
    set_process_up()
    keep_freed_memory()
    try:
        with naming_extras():
            work(**arguments)
    except FlprivacyError as error:
        told.send(error)
    except Exception:
        LOGGER.exception("%s broke", work.__name__)
        raise SystemExit(1) from None
    else:
        told.send(None)
