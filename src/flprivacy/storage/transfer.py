"""Parallel transfer of blocks: verified as they arrive, taken up again from what is verified on disk."""

import errno
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from flprivacy.core.errors import StorageError
from flprivacy.core.progress import Progress, progress
from flprivacy.storage.blocks import Block, Request, requests
from flprivacy.storage.checksums import Checksum, fits
from flprivacy.storage.object_store import ObjectStore
from flprivacy.storage.objects import TransientError
from flprivacy.storage.retry import Backoff

T = TypeVar("T")
R = TypeVar("R")
_READS_OF_DAMAGED = 3
# Bytes of a file that may wait to reach the disk: publishing would wait for all of them at the end, when no bytes
# arrive that the disk could take meanwhile.
_LARGEST_UNSYNCED_BYTES = 32 << 20


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What a transfer did.

    Attributes:
        wanted_bytes: of all blocks.
        found_bytes: of blocks that were on disk already, verified.
        moved_bytes: received over the network, gaps between blocks and repeated tries among them.
        requests: ranged reads planned.
    """

    wanted_bytes: int
    found_bytes: int
    moved_bytes: int
    requests: int


class DamagedBytesError(TransientError):
    """Bytes arrived that are not those of the checksum; reading again may mend it."""


def fetch(
    store: ObjectStore,
    blocks: Sequence[Block],
    *,
    description: str,
    finished: Callable[[Block, str], None] | None = None,
) -> Moved:
    """Bring blocks to their files, in parallel and in bounded memory.

    Files that are not there yet are made, as large as their last block needs. Blocks whose checksum is known and whose
    bytes are on disk already are not fetched again. Every other block is compared with its checksum as it arrives.

    Args:
        store: where the objects are.
        blocks: what to bring; those of one object do not overlap.
        description: of the progress, which counts bytes.
        finished: called with every block that is on disk and its checksum, from several threads at once.

    Raises:
        StorageError: an object cannot be read, changed, or stays damaged; the disk is full. What was verified
            stays on disk for the next call.
    """
    transfer = _Transfer(store, finished)
    wanted = sum(block.size for block in blocks)
    fresh = make_files(blocks)
    with progress(f"{description} (bytes)", wanted) as counter:
        found = [block for block, there in zip(blocks, transfer.on_disk(blocks, fresh), strict=True) if there]
        done = sum(block.size for block in found)
        if found:
            counter.resume(done)
            transfer.note_found(found)
        known = set(map(id, found))
        plan = requests((b for b in blocks if id(b) not in known), part_bytes=store.config.read_bytes)
        _check_room(plan)
        transfer.run(plan, counter)
    return Moved(wanted_bytes=wanted, found_bytes=done, moved_bytes=transfer.moved, requests=len(plan))


def in_parallel(store: ObjectStore, call: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return ``call`` of every item, in order; the first error stops the others and is raised."""
    with ThreadPoolExecutor(store.config.threads, thread_name_prefix="transfer") as pool:
        futures = [pool.submit(call, item) for item in items]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            store.contact.stop.set()
            pool.shutdown(cancel_futures=True)
            store.contact.stop.clear()
            raise
    return [future.result() for future in futures]


def make_files(blocks: Iterable[Block]) -> frozenset[Path]:
    """Make the files of blocks, sparse and of their full size; return those that were not there.

    A file of another size is made anew: it is not the beginning of this one.
    """
    sizes: dict[Path, int] = {}
    for block in blocks:
        sizes[block.path] = max(sizes.get(block.path, 0), block.offset + block.size)
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
    def __init__(self, store: ObjectStore, finished: Callable[[Block, str], None] | None) -> None:
        self.moved = 0
        self._store, self._finished = store, finished
        self._lock = threading.Lock()
        self._unsynced: Counter[Path] = Counter()
        self._left: Counter[Path] = Counter()

    def on_disk(self, blocks: Sequence[Block], fresh: frozenset[Path]) -> list[bool]:
        """Return, for each block, whether its bytes are in its file already."""
        if all(not block.checksum or block.path in fresh for block in blocks):
            return [False] * len(blocks)
        return in_parallel(self._store, lambda b: bool(b.checksum) and b.path not in fresh and _is_there(b), blocks)

    def note_found(self, blocks: Sequence[Block]) -> None:
        """Tell the caller of blocks that were on disk."""
        finished = self._finished
        if finished:
            in_parallel(self._store, lambda block: finished(block, block.checksum), blocks)

    def run(self, plan: Sequence[Request], counter: Progress) -> None:
        """Carry out all requests, the largest first, so that none is left alone at the end."""
        ordered = sorted(plan, key=lambda request: -request.size)
        for request in ordered:
            for block in request.blocks:
                self._left[block.path] += block.size
        in_parallel(self._store, lambda request: self._bring(request, counter), ordered)

    def _bring(self, request: Request, counter: Progress) -> None:
        """Carry out one request; after a failure go on with the first block that is not finished."""
        left = list(request.blocks)
        backoff = Backoff(self._store.config.retry, self._store.contact)
        damaged = 0
        while left:
            try:
                with closing(self._receive(left)) as arriving:
                    for block, checksum in arriving:
                        left = left[1:]
                        backoff.progressed()
                        damaged = 0
                        self._note(block, checksum, counter)
            except DamagedBytesError as error:
                damaged += 1
                if damaged >= _READS_OF_DAMAGED:
                    raise StorageError(
                        f"{error} after {damaged} reads; the object is damaged: restore it from a copy and run again"
                    ) from error
                backoff.failed(error)
            except TransientError as error:
                backoff.failed(error)

    def _note(self, block: Block, checksum: str, counter: Progress) -> None:
        if self._finished:
            self._finished(block, checksum)
        with self._lock:
            counter.advance(block.size)
            self._unsynced[block.path] += block.size
            self._left[block.path] -= block.size
            due = self._unsynced[block.path] >= _LARGEST_UNSYNCED_BYTES or not self._left[block.path]
            if due:
                self._unsynced[block.path] = 0
        if due:
            _sync(block.path)

    def _receive(self, blocks: Sequence[Block]) -> Generator[tuple[Block, str], None, None]:
        """Write blocks to their files as they arrive in one read; yield each with its checksum once it is verified."""
        source, position = blocks[0].source, blocks[0].start
        waiting = iter(blocks)
        writer = _Writer(next(waiting))
        try:
            with closing(self._store.read_once(source, position, blocks[-1].stop)) as chunks:
                for chunk in chunks:
                    with self._lock:
                        self.moved += len(chunk)
                    view = memoryview(chunk)
                    while view:
                        used = writer.take(view, position)
                        view, position = view[used:], position + used
                        if writer.is_full:
                            yield writer.block, writer.verified()
                            writer.close()
                            following = next(waiting, None)
                            if following is None:
                                break
                            writer = _Writer(following)
        finally:
            writer.close()


class _Writer:
    """Puts the bytes of one block into its file and sums them up."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self._checksum = Checksum(block.checksum)
        self._filled = 0
        with _disk_errors(block.path):
            self._handle = os.open(block.path, os.O_WRONLY)

    @property
    def is_full(self) -> bool:
        return self._filled == self.block.size

    def take(self, view: memoryview, position: int) -> int:
        """Take bytes that stand at ``position`` of the object; return how many were used or passed over."""
        before = self.block.start + self._filled - position
        if before > 0:
            return min(before, len(view))
        piece = view[: self.block.size - self._filled]
        self._checksum.update(piece)
        with _disk_errors(self.block.path):
            at, rest = self.block.offset + self._filled, piece
            while rest:
                written = os.pwrite(self._handle, rest, at)
                at, rest = at + written, rest[written:]
        self._filled += len(piece)
        return len(piece)

    def verified(self) -> str:
        """Return the checksum of the bytes.

        Raises:
            DamagedBytesError: it is not the one expected.
        """
        found = self._checksum.text()
        if self.block.checksum not in ("", found):
            raise DamagedBytesError(f"{self.block.source.uri}: {_named(self.block)} is not what its checksum says")
        return found

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _sync(path: Path) -> None:
    """Wait until the file's bytes so far are on the disk."""
    with _disk_errors(path):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fdatasync(handle)
        finally:
            os.close(handle)


def _named(block: Block) -> str:
    return block.label or f"the range of bytes {block.start} to {block.stop}"


def _is_there(block: Block) -> bool:
    """Say whether a block's bytes are in its file. Holes of a sparse file are read as zeros, and do not fit."""
    return fits(block.path, block.checksum, start=block.offset, size=block.size)


def _check_room(plan: Sequence[Request]) -> None:
    """Refuse at once what the disk has no room for."""
    if not plan:
        return
    needed = sum(block.size for request in plan for block in request.blocks)
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
