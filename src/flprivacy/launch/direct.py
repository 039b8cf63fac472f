"""Progress bars for work done in this process, not in a step of its own."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from flprivacy.core.events import ENVIRONMENT_VARIABLE, EventReader
from flprivacy.launch.amounts import AmountColumn

_POLL_SECONDS = 0.2


@contextmanager
def drawing_here(console: Console) -> Iterator[None]:
    """Draw what :mod:`flprivacy.core.progress` reports in this process while the block runs."""
    columns = (TextColumn("{task.description}"), BarColumn(), AmountColumn(), TimeRemainingColumn())
    with tempfile.TemporaryDirectory() as folder, Progress(*columns, console=console, transient=True) as bars:
        before = os.environ.get(ENVIRONMENT_VARIABLE)
        os.environ[ENVIRONMENT_VARIABLE] = folder
        stop = threading.Event()
        drawer = threading.Thread(target=_draw, args=(EventReader(Path(folder)), bars, stop), daemon=True)
        drawer.start()
        try:
            yield
        finally:
            stop.set()
            drawer.join()
            if before is None:
                del os.environ[ENVIRONMENT_VARIABLE]
            else:
                os.environ[ENVIRONMENT_VARIABLE] = before


def _draw(reader: EventReader, bars: Progress, stop: threading.Event) -> None:
    tasks: dict[str, TaskID] = {}
    while not stop.wait(_POLL_SECONDS):
        for event in reader.read():
            if event["kind"] == "progress":
                text = event["description"]
                if text not in tasks:
                    tasks[text] = bars.add_task(text, total=event["total"])
                bars.update(tasks[text], completed=event["done"], total=event["total"])
