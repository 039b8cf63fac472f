"""Strangers' files are looked at by another process before this one opens them.

HDF5's library was written for files that it wrote itself: over some damaged ones it runs without end, and others may
bring the process down. So a second process imports the library once and forks a walker for each file, with bounds on
memory and processor time: no file can harm more than its own walker. It starts with the first file and stays, so that
each further one costs milliseconds. Other formats have walks of their own (:func:`look`).
"""

import atexit
import contextlib
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from flprivacy.core.errors import TargetError
from flprivacy.models.hdf5 import GuardedFile, open_guarded

SECONDS = 5  # of processor time for one file; a large one takes a fraction of a second
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from flprivacy.models.quarantine import main; main()"
MEMORY_BYTES = 1 << 29  # of address space; the library and NumPy take a fifth
MOST_PARTS = 1 << 15  # groups, tensors and attributes of one file: I3D's has 900, some 0.1 ms each


def vet(path: Path, *, remedy: str, seconds: int = SECONDS) -> None:
    """Have an HDF5 file walked through, in so many seconds of processor time; ``remedy`` ends the message.

    Raises:
        TargetError: the file is missing or damaged, or HDF5's library cannot cope with it.
    """
    look("flprivacy.models.quarantine:walked", path, remedy, library="HDF5's library", remedy=remedy, seconds=seconds)


def look(
    walk: str,
    path: Path,
    *arguments: Any,
    library: str,
    remedy: str,
    seconds: int = SECONDS,
    memory_bytes: int = MEMORY_BYTES,
) -> Any:
    """Have a file looked at in so many seconds of processor time and bytes of memory.

    Args:
        walk: ``module:function``, called with the file's absolute path as text and ``arguments``, all JSON-able; the
            module must be importable without starting a thread.
        path: the file.
        arguments: further ones.
        library: what reads such files, for messages.
        remedy: ends messages.
        seconds: of processor time.
        memory_bytes: of address space.

    Returns:
        What the function returned, JSON-able.

    Raises:
        TargetError: the function raised it, or did not come to an end in these bounds.
    """
    absolute = path.absolute()
    question = {"walk": walk, "arguments": [str(absolute), *arguments], "seconds": seconds, "memory": memory_bytes}
    answer = _WALKERS.ask(question)
    if answer == signal.SIGXCPU:
        raise TargetError(f"{path}: {library} does not come to an end with it within {seconds} s; {remedy}")
    if not isinstance(answer, dict):
        raise TargetError(f"{path}: {library} crashes over it; {remedy}")
    if "refused" in answer:
        raise TargetError(answer["refused"].replace(str(absolute), str(path)))
    return answer["found"]


class _Walkers:
    """The process that forks a walker for each file: started when first needed, and again in a fork of this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0

    def ask(self, question: dict[str, Any]) -> dict[str, Any] | int | None:
        """Return the answer (:func:`main`); None if the process ended without one."""
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


def _exchange(process: subprocess.Popen[str], line: str | None) -> dict[str, Any] | int | None:
    """Send a line, if any, and return what comes back; None if the process is gone."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the second process was started without pipes")
    try:
        if line is not None:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
        answer: dict[str, Any] | int | None = json.loads(process.stdout.readline() or "null")
    except (BrokenPipeError, ValueError):  # it is gone, or no longer itself
        return None
    return answer


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


_WALKERS = _Walkers()
atexit.register(_WALKERS.close)


def main() -> None:
    """Answer each line of standard input, a question of :func:`look`, with a line of JSON.

    ``found``: what the walk found. ``refused``: what is wrong with the file. A number: of the signal that ended the
    walker; 0 for another end. Ends with its input.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the process that asks
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where a library says that it crashes
    _say({})
    for line in sys.stdin:
        question = json.loads(line)
        module, _, name = question["walk"].partition(":")
        walk = getattr(importlib.import_module(module), name)
        walker = os.fork()
        if walker == 0:
            try:
                _bound(question["seconds"], question["memory"])
                _say(_answer(walk, question["arguments"]))
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(walker, 0)
        if status:
            _say(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)


def _say(answer: dict[str, Any] | int) -> None:
    os.write(1, f"{json.dumps(answer)}\n".encode())


def _bound(seconds: int, memory_bytes: int) -> None:
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,  # it has nothing to write
    }
    for kind, limit in limits.items():
        with contextlib.suppress(OSError, ValueError):  # not every system knows every limit
            # The last second: beyond the soft limit comes the signal that says so, beyond the hard one the end.
            resource.setrlimit(kind, (limit, limit + (kind == resource.RLIMIT_CPU)))


def _answer(walk: Callable[..., Any], arguments: list[Any]) -> dict[str, Any]:
    try:
        return {"found": walk(*arguments)}
    except TargetError as error:
        return {"refused": str(error)}


def walked(path: str, remedy: str) -> None:
    """Open an HDF5 file and go through it.

    Raises:
        TargetError: it is missing or damaged.
    """
    with open_guarded(Path(path), remedy=remedy) as file:
        walk(file)


def walk(file: GuardedFile) -> None:
    """Go through everything that a reader may ask HDF5's library for, but the values of tensors.

    What the file holds is judged by its reader, except how much it is.
    """
    waiting: list[h5py.HLObject] = [file.root]
    parts, seen = 0, set()
    while waiting:
        member = waiting.pop()
        address = h5py.h5o.get_info(member.id).addr
        if address in seen:
            continue
        seen.add(address)
        parts += len(member.attrs) + (len(member) if isinstance(member, h5py.Group) else 0)
        if parts > MOST_PARTS:
            raise file.refuse(f"groups nested too deep or too full: more than {MOST_PARTS} groups, tensors and notes")
        for name in member.attrs:
            with contextlib.suppress(TargetError):  # refused by whoever wants it
                file.attribute(member, name)
        if isinstance(member, h5py.Dataset):
            _touch(member)
        elif isinstance(member, h5py.Group):
            links = ((name, member.get(name, getlink=True)) for name in member)
            waiting += [member[name] for name, link in links if isinstance(link, h5py.HardLink)]


def _touch(dataset: h5py.Dataset) -> None:
    layout = dataset.id.get_create_plist()
    layout.get_layout(), layout.get_external_count()
    dataset.id.get_storage_size(), dataset.shape, dataset.dtype
