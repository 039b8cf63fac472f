"""The mirror: a copy of a folder of checkpoints behind a network, kept up beside the work by one thread.

Each announced checkpoint (:mod:`flprivacy.core.checkpoint_events`) is pinned by a hard link, so that the work may
replace it at once; the thread sends what is new of the latest state and then its inventory. States that came and went
while it was sending are never sent. It reads files in parts, so its memory does not grow with theirs.
"""

import itertools
import logging
import os
import queue
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from flprivacy.core.checkpoint_events import listening
from flprivacy.core.errors import ConfigError, FlprivacyError, check
from flprivacy.core.events import emit
from flprivacy.core.publish import link_or_copy
from flprivacy.storage.checkpoints import RemoteCheckpoints, Snapshot
from flprivacy.storage.inventory import Content, content_of

LOGGER = logging.getLogger(__name__)

INTERVAL_VARIABLE = "FLPRIVACY_STORE_MIRROR_SECONDS"
DEFAULT_INTERVAL_SECONDS = 10.0
_NUMBER_FILE = "number"
_NEWS, _LAST, _END = range(3)  # what the work tells the thread
_REST_AFTER_FAILURE_SECONDS = 5.0
_GRACE_SECONDS = 20.0  # that interrupted work waits for its last copy; a reclaimed node gives about 25


def interval_from_environment() -> float:
    """Return the seconds of rest after each copy, in which new checkpoints wait for the next one.

    Raises:
        ConfigError: ``FLPRIVACY_STORE_MIRROR_SECONDS`` is no number of seconds, or negative.
    """
    text = os.environ.get(INTERVAL_VARIABLE, "")
    try:
        seconds = float(text or DEFAULT_INTERVAL_SECONDS)
    except ValueError as error:
        raise ConfigError(f"{INTERVAL_VARIABLE} is {text!r}; give a number of seconds") from error
    check(seconds >= 0.0, "interval_seconds", seconds, "must not be negative")
    return seconds


class Mirror:
    """Copies one artifact's folder of work while it is used as a context, and once more where that fails."""

    def __init__(
        self,
        remote: RemoteCheckpoints,
        work: Path,
        *,
        notes: Path,
        restored: Snapshot | None,
        number: int,
        interval_seconds: float,
    ) -> None:
        """Prepare a mirror; nothing is sent before a checkpoint is announced."""
        self._remote = remote  # its store is given up with the mirror
        self._work = work  # files in it already belong to its state
        self._notes = notes  # folder of the mirror's own, on the same disk
        self._interval_seconds = interval_seconds  # rest after each copy, in which new checkpoints wait
        self._pins, self._numbers = notes / "pins", itertools.count()
        self._number = restored.number if restored else number  # of the last snapshot known
        self._writer = secrets.token_hex(8)
        self._restored = restored.files if restored else {}  # known of the files in ``work``, if they are those
        self._known: dict[Path, Content] = {}  # pin -> content, of pins that were read
        # Digests of content that is behind the network.
        self._stored = {one.sha256 for one in restored.files.values()} if restored else set(remote.contents())
        self._own: set[str] = set()  # content that this mirror sent: it never removes another's
        self._own_number = 0  # of the last snapshot that this mirror stored
        self._committed: Mapping[str, Path] = {}
        # The state of the work, name -> pin: replaced as a whole by the work, read by the thread.
        self._files: Mapping[str, Path] = {}
        self._sending: frozenset[Path] = frozenset()
        self._lock = threading.Lock()  # of those two
        self._frozen = False
        # A queue whose put() is one step: the signal that ends the work may come at any other.
        self._words: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)

    def __enter__(self) -> "Mirror":
        shutil.rmtree(self._pins, ignore_errors=True)
        self._pins.mkdir(parents=True)
        (self._notes / _NUMBER_FILE).write_text(str(self._number))
        for path in sorted(self._work.rglob("*")):
            if path.is_file() and not _is_partial(path):
                self._pin(path)
        if self._restored or not self._files:
            self._known = {pin: self._restored[name] for name, pin in self._files.items()}
            self._committed = self._files
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:  # the artifact is made: what it was made from is of no more use
            self._words.put(_END)
            self._remote.store.contact.stop.set()
            self._thread.join()
        else:
            self._words.put(_LAST)
            self._thread.join(_GRACE_SECONDS)
            if self._thread.is_alive():
                self._remote.store.contact.stop.set()
                LOGGER.warning("%s: the last checkpoint could not be copied in time", self._remote.kind)
        shutil.rmtree(self._pins, ignore_errors=True)

    def note(self, path: Path) -> None:
        """Take notice of an announced checkpoint; one of another work is no business of this mirror."""
        if self._frozen or not path.is_relative_to(self._work):
            return
        try:
            self._pin(path)
        except OSError as error:  # a full disk, where links are not to be had
            self._frozen = True  # later files may rely on this one: only the state before it is whole
            _warn(error)
        else:
            self._words.put(_NEWS)

    def _pin(self, path: Path) -> None:
        pin, name = self._pins / str(next(self._numbers)), path.relative_to(self._work).as_posix()
        link_or_copy(path, pin)
        with self._lock:
            replaced = self._files.get(name)
            self._files = {**self._files, name: pin}
            if replaced is not None and replaced not in self._sending:
                replaced.unlink(missing_ok=True)  # else pins would fill the disk while the network is away

    def _run(self) -> None:
        word, waiting, earliest = _NEWS, False, 0.0
        while word == _NEWS:
            try:
                word = self._words.get(timeout=max(0.0, earliest - time.monotonic()) if waiting else None)
                waiting = True
            except queue.Empty:
                waiting = not self._send_latest()
                rest = max(self._interval_seconds, _REST_AFTER_FAILURE_SECONDS if waiting else 0.0)
                earliest = time.monotonic() + rest
        if word == _LAST:
            self._send_latest()

    def _send_latest(self) -> bool:
        """Send the latest state, and say whether that went well; a failure is no reason to stop the work."""
        with self._lock:
            files = self._files
            if files is self._committed:
                return True
            self._sending = frozenset(files.values())
        try:
            self._send(files)
        except (FlprivacyError, OSError) as error:
            if not self._remote.store.contact.stop.is_set():
                _warn(error)
            return False
        finally:
            self._tidy()
        return True

    def _send(self, files: Mapping[str, Path]) -> None:
        contents = {name: self._kept(pin) for name, pin in files.items()}
        self._remote.commit(contents, number=self._number + 1, writer=self._writer, scratch=self._notes)
        before, self._number = self._own_number, self._number + 1
        self._own_number, self._committed = self._number, files
        (self._notes / _NUMBER_FILE).write_text(str(self._number))
        if before:
            self._remote.forget(number=before, writer=self._writer)
        needed = {content.sha256 for content in contents.values()}
        for sha256 in sorted(self._own - needed):
            self._stored.discard(sha256)
            self._remote.drop(sha256)
            self._own.discard(sha256)

    def _tidy(self) -> None:
        """Forget the pins that the work replaced while they were being sent."""
        with self._lock:
            current = set(self._files.values())
            past, self._sending = self._sending - current, frozenset()
        for pin in past:
            pin.unlink(missing_ok=True)
        self._known = {pin: content for pin, content in self._known.items() if pin in current}

    def _kept(self, pin: Path) -> Content:
        """Return a pinned file's content, which is behind the network afterwards; then the pin is not needed."""
        content = self._known.get(pin) or content_of(pin)
        if content.sha256 not in self._stored:
            self._remote.keep(pin, content)
            self._stored.add(content.sha256)
            self._own.add(content.sha256)
        self._known[pin] = content
        pin.unlink(missing_ok=True)
        return content


@contextmanager
def mirroring(mirror: Mirror) -> Iterator[None]:
    """Copy the checkpoints that are announced in this context."""
    with mirror, listening(mirror.note):
        yield


def mirrored_number(notes: Path) -> int:
    """Return the number of the last snapshot that a mirror with this folder of notes began from or stored; 0: none."""
    try:
        return int((notes / _NUMBER_FILE).read_text())
    except (FileNotFoundError, ValueError):  # never mirrored, or killed in the act of writing it
        return 0


def _warn(error: Exception) -> None:
    text = f"a checkpoint could not be copied, the work goes on: {error}"
    LOGGER.warning("%s", text)
    emit("warning", message=text)


def _is_partial(path: Path) -> bool:
    return path.name.startswith(".") or path.name.endswith(".partial")
