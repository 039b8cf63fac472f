"""Ranges of objects to places in files: in parallel, verified as they arrive, resumed from what is verified on disk."""

import errno
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from flprivacy.core.errors import StorageError
from flprivacy.core.progress import Progress, progress
from flprivacy.storage.checksums import Checksum, fits
from flprivacy.storage.objects import ObjectStore
from flprivacy.storage.ranges import Block, RangedRead, plan_reads
from flprivacy.storage.retry import Retries, TransientError

_READS_OF_DAMAGED = 3
# Bytes of a file that may wait to reach the disk: publishing would wait for all of them at the end, when no bytes
# arrive that the disk could take meanwhile.
_LARGEST_UNSYNCED_BYTES = 32 << 20


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What a transfer did."""

    wanted_bytes: int  # of all blocks
    found_bytes: int  # of blocks that were on disk already, verified
    moved_bytes: int  # received over the network, gaps between blocks and repeated tries among them
    requests: int  # ranged reads planned


class _DamagedBytesError(TransientError):
    """Bytes arrived that are not those of the checksum; reading again may mend it."""


def fetch(
    store: ObjectStore,
    blocks: Sequence[Block],
    *,
    description: str,
    finished: Callable[[Block, str], None] = lambda block, checksum: None,
    sizes: Mapping[Path, int] = MappingProxyType({}),
) -> Moved:
    """Bring blocks to their files, in parallel and in bounded memory.

    Files that are not there yet are made, as large as their last block needs. Blocks whose checksum is known and whose
    bytes are on disk already are not fetched again. Every other block is compared with its checksum as it arrives.

    What was verified before an error stays on disk for the next call. Blocks of one object do not overlap. ``finished``
    is called with every block that is on disk and its checksum, from several threads at once. ``sizes`` are those of
    files that hold, or will hold, more than these blocks.
    """
    wanted = sum(block.size for block in blocks)
    fresh = _make_files(blocks, sizes)

    def is_there(block: Block) -> bool:  # holes of a sparse file are read as zeros, and do not fit
        return fits(block.path, block.checksum, start=block.offset, size=block.size)

    with progress(f"{description} (bytes)", wanted) as counter:
        known = [block for block in blocks if block.checksum and block.path not in fresh]
        there = zip(known, store.in_parallel(is_there, known), strict=True)
        found = [block for block, is_found in there if is_found]
        done = sum(block.size for block in found)
        if found:
            counter.resume(done)
            store.in_parallel(lambda block: finished(block, block.checksum), found)
        ids = set(map(id, found))
        plan = plan_reads((b for b in blocks if id(b) not in ids), most_bytes=store.config.read_bytes)
        _check_room(plan)
        transfer = _Transfer(store, plan, finished, counter)
        transfer.run()
    return Moved(wanted_bytes=wanted, found_bytes=done, moved_bytes=transfer.moved, requests=len(plan))


def _make_files(blocks: Iterable[Block], known: Mapping[Path, int]) -> frozenset[Path]:
    """Make the files of blocks, sparse and of their full size; return those that were not there.

    A file of another size is made anew: it is not the beginning of this one.
    """
    sizes: dict[Path, int] = {}
    for block in blocks:
        sizes[block.path] = max(sizes.get(block.path, 0), known.get(block.path, 0), block.offset + block.size)
    fresh = set()
    for path, size in sizes.items():
        with _disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file() or path.stat().st_size != size:
                path.unlink(missing_ok=True)
                with path.open("xb") as stream:
                    stream.truncate(size)
                fresh.add(path)
    return frozenset(fresh)


class _Transfer:
    """Carries out ranged reads."""

    def __init__(
        self, store: ObjectStore, plan: Sequence[RangedRead], finished: Callable[[Block, str], None], counter: Progress
    ) -> None:
        self.moved = 0
        self._store, self._plan, self._finished, self._counter = store, plan, finished, counter
        self._lock = threading.Lock()
        self._unsynced: Counter[Path] = Counter()
        self._left: Counter[Path] = Counter()

    def run(self) -> None:
        """Carry out all reads, the largest first, so that none is left alone at the end."""
        for read in self._plan:
            for block in read.blocks:
                self._left[block.path] += block.size
        self._store.in_parallel(self._bring, sorted(self._plan, key=lambda read: -read.size))

    def _bring(self, read: RangedRead) -> None:
        """Carry out one read; after a failure go on with the first block that is not finished."""
        left, retries, damaged = list(read.blocks), Retries(self._store.contact), 0
        while left:
            try:
                with closing(self._receive(left)) as arriving:
                    for block, checksum in arriving:
                        left = left[1:]
                        retries.progressed()
                        damaged = 0
                        self._note(block, checksum)
            except TransientError as error:
                damaged += isinstance(error, _DamagedBytesError)
                if damaged >= _READS_OF_DAMAGED:
                    raise StorageError(
                        f"{error} after {damaged} reads; the object is damaged: restore it from a copy and run again"
                    ) from error
                retries.failed(error)

    def _note(self, block: Block, checksum: str) -> None:
        self._finished(block, checksum)
        with self._lock:
            self._counter.advance(block.size)
            self._unsynced[block.path] += block.size
            self._left[block.path] -= block.size
            due = self._unsynced[block.path] >= _LARGEST_UNSYNCED_BYTES or not self._left[block.path]
            if due:
                self._unsynced[block.path] = 0
        if due:
            _sync(block.path)

    def _receive(self, blocks: Sequence[Block]) -> Generator[tuple[Block, str], None, None]:
        """Write blocks to their files as they arrive in one read; yield each with its checksum once it is verified."""
        position = blocks[0].start
        with closing(self._store.read_once(blocks[0].source, position, blocks[-1].stop)) as chunks:
            arriving = _Arriving(self._counted(chunks))
            for block in blocks:
                for _ in arriving.take(block.start - position):  # a gap: thrown away
                    pass
                position = block.stop
                yield block, _write(block, arriving.take(block.size))
            for _ in chunks:  # nothing comes any more but the storage's last look at whether its object changed
                pass

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            with self._lock:
                self.moved += len(chunk)
            yield chunk


class _Arriving:
    """Bytes that arrive in chunks, taken in pieces of other sizes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._view = chunks, memoryview(b"")

    def take(self, size: int) -> Iterator[memoryview]:
        """Yield the next so many bytes, in pieces."""
        while size:
            self._view = self._view or memoryview(next(self._chunks))
            piece, self._view = self._view[:size], self._view[size:]
            size -= len(piece)
            yield piece


def _write(block: Block, pieces: Iterator[memoryview]) -> str:
    """Put the bytes of a block into its file; return their checksum, or raise if it is not the one expected."""
    checksum, at = Checksum(block.checksum), block.offset
    with _disk_errors(block.path):
        handle = os.open(block.path, os.O_WRONLY)
    try:
        for piece in pieces:
            checksum.update(piece)
            with _disk_errors(block.path):
                while piece:
                    written = os.pwrite(handle, piece, at)
                    at, piece = at + written, piece[written:]
    finally:
        os.close(handle)
    found = checksum.text()
    if block.checksum not in ("", found):
        label = block.label or f"the range of bytes {block.start} to {block.stop}"
        raise _DamagedBytesError(f"{block.source.uri}: {label} is not what its checksum says")
    return found


def _sync(path: Path) -> None:
    """Wait until the file's bytes so far are on the disk."""
    with _disk_errors(path), path.open("rb") as stream:
        os.fdatasync(stream.fileno())


def _check_room(plan: Sequence[RangedRead]) -> None:
    """Refuse at once what the disk has no room for."""
    if not plan:
        return
    needed = sum(block.size for read in plan for block in read.blocks)
    folder = plan[0].blocks[0].path.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"{folder}: {needed} bytes are to come and {free} are free; free space or use another folder"
        )


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors about a file of ours into one line."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free space or use another folder" if full else "check its permissions"
        raise StorageError(f"{path}: cannot be written ({error.strerror}); {remedy}") from error
