"""Stores behind a URI, each on a machine of its own, and makers that announce their checkpoints."""

import re
from collections.abc import Callable
from pathlib import Path

from storage_examples import QUICK

from flprivacy.core.checkpoint_events import announce
from flprivacy.core.publish import publish_file
from flprivacy.storage.artifact_store import Store
from flprivacy.storage.objects import open_objects

# Everything below a store that a test may find: keys and digests, never a name that a user gave.
OBJECT_NAME = re.compile(
    r"(target|scores|audit|report|dp_check)/[0-9a-f]{64}/([0-9a-f]{64}|artifact\.json)"
    r"|work/(target|scores|audit|report|dp_check)-[0-9a-f]{64}/(blobs/[0-9a-f]{64}|checkpoints/\d{8}-[0-9a-f]{16}\.json)"
)


def machine(uri: str, disk: Path) -> Store:
    """A store with an empty disk."""
    return Store(disk, uri, interval_seconds=0.0)


def object_names(uri: str) -> list[str]:
    """Return the names of all objects below a URI."""
    return list(open_objects(uri, QUICK).contents(uri))


def checkpoint(path: Path, text: str) -> None:
    """Write a checkpoint as the writers do, and announce it."""
    with publish_file(path) as partial:
        partial.write_text(text)
    announce(path)


def counting(calls: list[str], *, steps: int, stop_at: int | None = None) -> Callable[[Path, Path], None]:
    """Return a maker that counts to ``steps`` in a checkpoint, and is broken off when it has reached ``stop_at``."""

    def make(work: Path, out: Path) -> None:
        path = work / "patient-jones" / "state.txt"
        done = path.read_text().split() if path.exists() else []
        calls.append(f"began at {len(done)}")
        for step in range(len(done), steps):
            done.append(str(step))
            checkpoint(path, " ".join(done))
            if stop_at == step + 1:
                raise SystemExit(143)
        (out / "scans-of-jones").mkdir()
        (out / "scans-of-jones" / "result.txt").write_text(" ".join(done))
        (out / "empty").write_bytes(b"")

    return make
