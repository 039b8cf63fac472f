"""Memory that runs out: the kernel would end the whole container without a word, and with it the run.

Kubernetes kills every process of a container that reaches its limit; Argo does not try that again, and what waits for
the step never runs. So a thread looks how much is left, and acts shortly before the end. It may come too late where
memory is filled in one stroke: then the pod is killed all the same, and says so.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
_INTERVAL_SECONDS = 0.05
_SPARE, _LEAST_SPARE = 0.03, 64 << 20  # of the limit, and bytes: what is filled while nobody looks
_GIB = 1 << 30
# Version 2 of Linux's control groups, then 1: limit, use, and counters of what the kernel can take back at once.
_V2 = ("memory.max", "memory.current", "memory.stat", ("active_file", "inactive_file", "slab_reclaimable"))
_V1 = (
    "memory/memory.limit_in_bytes",
    "memory/memory.usage_in_bytes",
    "memory/memory.stat",
    ("total_active_file", "total_inactive_file"),
)


@dataclass(frozen=True, kw_only=True)
class MemoryUse:
    """What a container uses of the memory that it may, in bytes."""

    used: int
    limit: int

    @property
    def is_full(self) -> bool:
        """Whether there is next to nothing left."""
        return self.limit - self.used < max(_SPARE * self.limit, _LEAST_SPARE)

    def __str__(self) -> str:
        return f"{self.used / _GIB:.1f} of {self.limit / _GIB:.1f} GiB"


def memory_use(root: Path = CGROUP) -> MemoryUse | None:
    """Return the memory that this container uses; None where no limit is set or told."""
    for limit_file, use_file, counters_file, names in (_V2, _V1):
        try:
            limit, used = (root / limit_file).read_text().strip(), int((root / use_file).read_text())
            counters = dict(line.split() for line in (root / counters_file).read_text().splitlines())
        except (OSError, ValueError):
            continue
        if not limit.isdigit():
            return None
        return MemoryUse(used=used - sum(int(counters.get(name, 0)) for name in names), limit=int(limit))
    return None


@contextmanager
def watching_memory(act: Callable[[MemoryUse], None], root: Path = CGROUP) -> Iterator[None]:
    """Call ``act``, once and from another thread, when memory runs out while the block runs."""
    if memory_use(root) is None:
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_INTERVAL_SECONDS):
            use = memory_use(root)
            if use is not None and use.is_full:
                act(use)
                return

    watcher = threading.Thread(target=watch, name="memory", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
