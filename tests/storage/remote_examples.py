"""Stores behind a URI, each on a machine of its own, and makers that announce their checkpoints."""

import re
from collections.abc import Callable
from pathlib import Path

from storage_examples import QUICK

from flprivacy.core.checkpoint_events import announce
from flprivacy.core.publish import publish_file
from flprivacy.storage.mirror import MirrorConfig
from flprivacy.storage.object_store import open_objects
from flprivacy.storage.remote_store import RemoteStore
from flprivacy.storage.store import Store

# Everything below a store that a test may find: keys and digests, never a name that a user gave.
OBJECT_NAME = re.compile(
    r"(target|scores|audit|report|dp_check)/[0-9a-f]{64}/([0-9a-f]{64}|artifact\.json)"
    r"|work/(target|scores|audit|report|dp_check)-[0-9a-f]{64}/(blobs/[0-9a-f]{64}|checkpoints/\d{8}-[0-9a-f]{16}\.json)"
)


def machine(uri: str, disk: Path, *, interval_seconds: float = 0.0, grace_seconds: float = 60.0) -> RemoteStore:
    """A store with an empty disk."""
    config = MirrorConfig(interval_seconds=interval_seconds, grace_seconds=grace_seconds)
    return RemoteStore(uri=uri, cache=Store(disk), mirror=config)


def object_names(uri: str) -> list[str]:
    """Return the names of all objects below a URI."""
    return [stat.uri.removeprefix(f"{uri}/") for stat in open_objects(uri, QUICK).list(uri)]


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
