"""A second name for a file's bytes: a hard link where the file system allows, a copy elsewhere."""

import os
import shutil
from pathlib import Path


def link_or_copy(source: str | Path, destination: str | Path) -> None:
    """Put the bytes of ``source`` at ``destination`` too, where nothing is yet."""
    try:
        os.link(source, destination)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, destination)
