"""How far a piece of work is: a count of units, or for a transfer bytes and their rate."""

from rich.filesize import decimal
from rich.progress import ProgressColumn, Task
from rich.text import Text

_BYTES = "(bytes)"  # how a description ends whose units are bytes


def amount_text(description: str, done: float, total: float | None, rate: float | None = None) -> str:
    """Return such as ``3 of 7``, or ``1.2 GB of 2.0 GB, 240.0 MB/s`` where the description says that units are bytes.

    Args:
        description: of the work.
        done: units.
        total: units; None where not known yet.
        rate: units a second; None where not known.
    """
    if total is None:
        return ""
    if not description.endswith(_BYTES):
        return f"{done:.0f} of {total:.0f}"
    speed = f", {decimal(int(rate))}/s" if rate else ""
    return f"{decimal(int(done))} of {decimal(int(total))}{speed}"


class AmountColumn(ProgressColumn):
    """Shows it beside a live bar."""

    def render(self, task: Task) -> Text:
        """Return the text for one bar."""
        return Text(amount_text(task.description, task.completed, task.total, task.speed), style="progress.download")
