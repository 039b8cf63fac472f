"""Word of checkpoints, from whoever writes one to whoever keeps a copy of it elsewhere.

A writer announces each file as soon as it is whole and in its place. The files announced up to any moment are
together a state that the work can be carried on from; a file that others rely on is therefore announced before them.
An announced file is never changed in place: it may be replaced by a rename, and is then announced again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Listener = Callable[[Path], None]

_LISTENERS: list[Listener] = []


def announce(path: Path) -> None:
    """Say that a file which a killed run carries on from is whole and in its place."""
    for listener in tuple(_LISTENERS):
        listener(path)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call ``listener`` with the path of every file announced in this process, in the thread that announces it."""
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)
