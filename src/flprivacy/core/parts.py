"""Parts of a run's loop: which targets one pod works on, one after another.

Kubernetes stores of every pod of a run some 60 kB, and stops telling at 1 MiB. So pods share the targets of a large
run, as many as would be at work at the same time anyway.
"""

import re
from collections.abc import Sequence

from flprivacy.core.errors import check

WITHOUT_MODEL = "@without-a-model"  # among a run's targets: the attackers that have none; in no target's name
PARTS_FILE = "targets.json"  # in what a part writes: names of the folders beside it
_BETWEEN = ", "
_NAME = re.compile(r"\w(?:[\w .-]{0,98}[\w.-])?")
RESERVED = ("pixels", "majority", PARTS_FILE)


def check_target_name(name: str) -> None:
    """Refuse with a ConfigError a name that a target cannot have: parts list it, and files and folders are named so."""
    rule = "begin with a letter or digit, and use letters, digits, spaces and . - _, at most 100"
    check(_NAME.fullmatch(name) is not None, "target name", name, rule)
    check(name not in RESERVED, "target name", name, "this name is taken; choose another")


def deal(names: Sequence[str], most: int) -> list[str]:
    """Return parts of a list of names, ``most`` at most, each as text.

    Names are dealt like cards: what takes long, and stands first, comes into parts of its own.
    """
    number = max(1, min(most, len(names)))
    return [_BETWEEN.join(names[start::number]) for start in range(number)]


def names_of(part: str) -> tuple[str, ...]:
    """Return the names in a part."""
    return tuple(part.split(_BETWEEN))
