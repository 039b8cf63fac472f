"""Progress of long work: what, how far, how long still.

A step reports to whoever listens: always a log line every few seconds (what a pod's log shows), and, when the
environment variable ``FLPRIVACY_EVENTS`` names a folder, JSON lines there, from which a parent process draws
live bars (see :mod:`flprivacy.core.events`).
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from flprivacy.core.events import emit

T = TypeVar("T")
LOGGER = logging.getLogger("flprivacy.progress")
_LOG_EVERY_SECONDS = 10.0
_EMIT_EVERY_SECONDS = 0.3


class Progress:
    """Counts units of one piece of work. Use :func:`progress` to make one."""

    def __init__(self, description: str, total: int) -> None:
        self.description = description
        self.total = total
        self.done = 0
        self._started = self._logged = time.monotonic()
        self._emitted = 0.0
        self._resumed_at = 0

    def advance(self, units: int = 1) -> None:
        """Count ``units`` more as done."""
        self.done += units
        self._tell(final=self.done >= self.total)

    def resume(self, done: int) -> None:
        """Say that ``done`` units were found finished; they do not enter the estimate of the time left."""
        self.done = self._resumed_at = done
        self._tell(final=False)

    def seconds_left(self) -> float | None:
        """Return the estimated seconds left, or None before the first unit."""
        fresh = self.done - self._resumed_at
        if fresh <= 0:
            return None
        return (time.monotonic() - self._started) / fresh * (self.total - self.done)

    def _tell(self, *, final: bool) -> None:
        now = time.monotonic()
        if final or now - self._emitted >= _EMIT_EVERY_SECONDS:
            self._emitted = now
            emit("progress", description=self.description, done=self.done, total=self.total)
        if final or now - self._logged >= _LOG_EVERY_SECONDS:
            self._logged = now
            left = self.seconds_left()
            tail = "" if left is None or final else f", about {left:.0f} s left"
            LOGGER.info("%s: %d of %d%s", self.description, self.done, self.total, tail)


@contextmanager
def progress(description: str, total: int) -> Iterator[Progress]:
    """Yield a counter for ``total`` units of work, described in a few words without identifiers."""
    counter = Progress(description, total)
    emit("progress", description=description, done=0, total=total)
    yield counter


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield ``items`` while reporting progress. ``total`` may be left out where ``items`` has a length."""
    count = total if total is not None else len(items) if isinstance(items, Sized) else 0
    with progress(description, count) as counter:
        for item in items:
            yield item
            counter.advance()
