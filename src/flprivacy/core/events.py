"""Events from a running step to the process that started it, as JSON lines in a folder.

The parent sets ``FLPRIVACY_EVENTS`` to a folder; every step process appends to a file of its own there.
Without the variable nothing is written.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

ENVIRONMENT_VARIABLE = "FLPRIVACY_EVENTS"


def emit(kind: str, **fields: Any) -> None:
    """Append one event, if a parent listens. ``kind`` is ``step``, ``progress``, ``reused``, ``made``,
    ``done``, ``failed`` (the target alone), ``result``, ``note``, ``warning`` or ``error`` (the run)."""
    folder = os.environ.get(ENVIRONMENT_VARIABLE)
    if not folder:
        return
    line = json.dumps({"kind": kind, "time": time.time(), "pid": os.getpid(), **fields})
    with (Path(folder) / f"{os.getpid()}.jsonl").open("a") as stream:
        stream.write(line + "\n")


class EventReader:
    """Reads what the steps of one run have appended since the last look."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}

    def read(self) -> list[dict[str, Any]]:
        """Return the new events, in order of time. A line still being written waits for the next look."""
        events: list[dict[str, Any]] = []
        for path in sorted(self._folder.glob("*.jsonl")):
            with path.open("rb") as stream:
                stream.seek(self._offsets.get(path, 0))
                data = stream.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._offsets[path] = self._offsets.get(path, 0) + len(whole)
            events += [json.loads(line) for line in whole.splitlines()]
        return sorted(events, key=lambda e: float(e["time"]))
