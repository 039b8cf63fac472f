"""What attacks keep between runs: named arrays in files that are whole or absent, and a cache of arrays by scan.

The cache is made of chunks, a file each. A kill at any moment loses the chunk under way and nothing else. Chunks are
never changed; rows that no chunk holds yet, because the attacker now has more seeds or larger fractions, go into new
chunks beside the old ones.
"""

import itertools
import math
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import Float32Array, IntArray
from flprivacy.core.checkpoint_events import announce
from flprivacy.core.digests import digest_bytes
from flprivacy.core.errors import AttackError
from flprivacy.core.progress import Progress
from flprivacy.core.publish import publish_file

Arrays = dict[str, Float32Array]
S = TypeVar("S")
T = TypeVar("T")

CHUNK_BATCHES = 16
_AHEAD = 2  # batches prepared while the model runs
_ROWS = "rows"


def save_arrays(path: Path, arrays: dict[str, npt.NDArray[Any]], *, durable: bool = True) -> None:
    """Write arrays atomically; for ``durable`` see :func:`~flprivacy.core.publish.publish_file`.

    Raises:
        StorageError: the folder cannot be created or is not writable.
    """
    save: Any = np.savez  # whose stub takes any name for allow_pickle
    with publish_file(path, durable=durable) as partial, partial.open("wb") as stream:
        save(stream, **arrays)
    announce(path)


def load_arrays(path: Path, only: str | None = None) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of a file, or only one of them.

    Raises:
        AttackError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if only in (None, name)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise AttackError(f"{path}: damaged ({error}); delete this file and attack again") from error


class ChunkedCache:
    """Arrays of shape (scan, k), by name, for some of a cohort's rows, in the files of one folder."""

    def __init__(self, folder: Path) -> None:
        """Open the folder; it need not exist."""
        self.folder = folder

    def missing(self, rows: IntArray) -> IntArray:
        """Return those of ``rows`` that no chunk holds, in their order."""
        held = [load_arrays(path, only=_ROWS)[_ROWS] for path in self._files()]
        return rows[~np.isin(rows, np.concatenate(held))] if held else rows

    def add(self, rows: IntArray, arrays: Arrays) -> None:
        """Publish one chunk: at least one row, name -> (scan, k)."""
        name = f"{int(rows[0]):08d}-{digest_bytes(rows.tobytes())[:16]}.npz"
        save_arrays(self.folder / name, {_ROWS: rows, **arrays})

    def read(self, rows: IntArray) -> Arrays:
        """Return name -> (scan, k) for ``rows``, in their order.

        Raises:
            AttackError: a row is missing or a file is damaged.
        """
        chunks = [load_arrays(path) for path in self._files()]
        held = np.concatenate([chunk.pop(_ROWS) for chunk in chunks]) if chunks else np.empty(0, np.int64)
        order = np.argsort(held, kind="stable")
        places = np.searchsorted(held, rows, sorter=order)
        found = places < len(held)
        if not found.all() or (held[order[places]] != rows).any():
            raise AttackError(f"{self.folder}: lacks rows that it should hold; delete this folder and attack again")
        names = list(chunks[0]) if chunks else []
        return {name: np.concatenate([chunk[name] for chunk in chunks])[order[places]] for name in names}

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.npz"))


def fill(
    cache: ChunkedCache,
    rows: IntArray,
    *,
    batch_size: int,
    load: Callable[[IntArray], Float32Array],
    forward: Callable[[Float32Array], Arrays],
    counter: Progress,
) -> None:
    """Compute ``rows``, ascending, which the cache lacks, and publish them chunk by chunk; see :func:`batched`."""
    chunk = CHUNK_BATCHES * batch_size
    answers = batched(rows, batch_size=batch_size, load=load, forward=forward)
    for start in range(0, len(rows), chunk):
        some = rows[start : start + chunk]
        parts = []
        for part in itertools.islice(answers, math.ceil(len(some) / batch_size)):
            parts.append(part)
            counter.advance(len(next(iter(part.values()))))
        cache.add(some, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def batched(
    rows: IntArray,
    *,
    batch_size: int,
    load: Callable[[IntArray], Float32Array],
    forward: Callable[[Float32Array], Arrays],
) -> Iterator[Arrays]:
    """Yield the answers for ``rows``, name -> (scan, k), a batch at a time.

    ``load`` turns row numbers into network inputs, in threads ahead of ``forward``. The last batch is padded by
    repetition, so that every call of ``forward`` has the same shape.
    """
    batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    for batch, inputs in zip(batches, ahead(lambda b: load(_padded(b, batch_size)), batches), strict=True):
        yield {name: values[: len(batch)] for name, values in forward(inputs).items()}


def _padded(rows: IntArray, size: int) -> IntArray:
    return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows))])


def ahead(work: Callable[[S], T], items: Sequence[S]) -> Iterator[T]:
    """Yield ``work(item)`` in order, a few items ahead of the consumer, in threads."""
    with ThreadPoolExecutor(max_workers=_AHEAD) as pool:
        queue: deque[Future[T]] = deque()
        try:
            for item in items:
                queue.append(pool.submit(work, item))
                if len(queue) > _AHEAD:
                    yield queue.popleft().result()
            while queue:
                yield queue.popleft().result()
        finally:
            for future in queue:
                future.cancel()
