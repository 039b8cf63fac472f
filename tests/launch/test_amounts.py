"""Bytes are shown as bytes with their rate, other work as a count."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from flprivacy.launch.amounts import AmountColumn, amount_text


@pytest.mark.parametrize(
    ("description", "done", "total", "rate", "text"),
    [
        ("intervals", 3, 7, 2.0, "3 of 7"),
        ("pulling 9 volumes (bytes)", 1_200_000_000, 2_000_000_000, 2.4e8, "1.2 GB of 2.0 GB, 240.0 MB/s"),
        ("pulling 9 volumes (bytes)", 0, 6256, None, "0 bytes of 6.3 kB"),
        ("anything", 0, None, None, ""),
    ],
)
def test_text(description: str, done: float, total: float | None, rate: float | None, text: str) -> None:
    assert amount_text(description, done, total, rate) == text


def test_a_transfers_bar_shows_bytes_and_rate() -> None:
    out, now = io.StringIO(), [0.0]
    bars = Progress(AmountColumn(), console=Console(file=out, force_terminal=True), get_time=lambda: now[0])
    task = bars.add_task("pulling (bytes)", total=4_000_000)
    for second in (1.0, 2.0, 3.0):
        now[0] = second
        bars.update(task, advance=1_000_000)
    bars.console.print(bars.get_renderable())
    assert "3.0 MB of 4.0 MB, 1.0 MB/s" in out.getvalue()
