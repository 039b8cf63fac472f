"""Parts of a run's loop: which targets one pod works on, one after another.

Kubernetes stores of every pod of a run some 60 kB, and stops telling at 1 MiB. So pods share the targets of a large
run, as many as would be at work at the same time anyway.
"""

from collections.abc import Sequence

WITHOUT_MODEL = "@without-a-model"  # among a run's targets: the attackers that have none; in no target's name
_BETWEEN = ", "


def deal(names: Sequence[str], most: int) -> list[str]:
    """Return parts of a list of names, ``most`` at most, each as text.

    Names are dealt like cards: what takes long, and stands first, comes into parts of its own.
    """
    number = max(1, min(most, len(names)))
    return [_BETWEEN.join(names[start::number]) for start in range(number)]


def names_of(part: str) -> tuple[str, ...]:
    """Return the names in a part."""
    return tuple(part.split(_BETWEEN))
