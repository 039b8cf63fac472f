"""The console that commands draw on."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN_WIDTH = 120  # of a log or pipe, where there is no terminal to ask


def console() -> "Console":
    """Return a console on standard output, as it is now."""
    from rich.console import Console

    # The file is bound now: a pipeline's own output goes to its log while this console goes on drawing.
    found = Console(file=sys.stdout)
    return found if found.is_terminal else Console(file=sys.stdout, width=max(found.width, _PLAIN_WIDTH))
