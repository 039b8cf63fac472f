"""The walk through a stranger's HDF5 file, in a process of its own for each file.

HDF5's library was written for files that it wrote itself: over some damaged ones it runs without end, and others may
bring the process down. :mod:`~flprivacy.models.quarantine` starts this program. It imports the library once and forks a
walker for each file, with bounds on memory and processor time, so that no file can harm more than its own walker.
"""

import contextlib
import json
import os
import resource
import signal
import sys
from pathlib import Path

import h5py

from flprivacy.core.errors import TargetError
from flprivacy.models.hdf5 import GuardedFile, open_guarded

MEMORY_BYTES = 1 << 29  # of address space; the library and NumPy take a fifth
MOST_PARTS = 1 << 15  # groups, tensors and attributes of one file: I3D's has 900, some 0.1 ms each


def main() -> None:
    """Answer each line of standard input, a JSON list of path, remedy and seconds, with a line of JSON.

    An empty text: nothing is wrong with the file. Another text: what is wrong. A number: of the signal that ended the
    walker; 0 for another end. Ends with its input.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the process that asks
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where a library says that it crashes
    _say("")
    for line in sys.stdin:
        path, remedy, seconds = json.loads(line)
        walker = os.fork()
        if walker == 0:
            try:
                _bound(seconds)
                _say(_fault(Path(path), remedy))
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(walker, 0)
        if status:
            _say(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)


def _say(answer: str | int) -> None:
    os.write(1, f"{json.dumps(answer)}\n".encode())


def _bound(seconds: int) -> None:
    limits = {
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,  # it has nothing to write
    }
    for kind, limit in limits.items():
        with contextlib.suppress(OSError, ValueError):  # not every system knows every limit
            # The last second: beyond the soft limit comes the signal that says so, beyond the hard one the end.
            resource.setrlimit(kind, (limit, limit + (kind == resource.RLIMIT_CPU)))


def _fault(path: Path, remedy: str) -> str:
    try:
        with open_guarded(path, remedy=remedy) as file:
            walk(file)
    except TargetError as error:
        return str(error)
    return ""


def walk(file: GuardedFile) -> None:
    """Go through everything that a reader may ask HDF5's library for, but the values of tensors.

    What the file holds is judged by its reader, except how much it is.

    Raises:
        TargetError: it holds more parts than any writer of weights writes.
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


if __name__ == "__main__":
    main()
