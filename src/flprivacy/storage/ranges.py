"""Which bytes of which objects go where, and which ranged reads bring them."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flprivacy.storage.backends.contract import ObjectStat

# Bytes between two blocks that are fetched along rather than spending a request on each.
_LONGEST_GAP_BYTES = 1 << 20
_WASTE = 0.05


@dataclass(frozen=True, kw_only=True)
class Block:
    """Neighbouring bytes of an object that are wanted at one place of a file."""

    source: ObjectStat  # the object
    start: int  # first byte in the object
    size: int  # number of bytes, at least 1
    path: Path  # the file
    offset: int  # first byte in the file
    checksum: str = ""  # of the bytes, as text (:mod:`~flprivacy.storage.checksums`); empty where it is not known
    label: str = ""  # what a message calls it, such as ``volume 12``; never an identifier

    @property
    def stop(self) -> int:
        """Byte of the object after the last."""
        return self.start + self.size


@dataclass(frozen=True)
class RangedRead:
    """One request for bytes of an object."""

    blocks: tuple[Block, ...]  # what it brings, by rising ``start``; bytes between them are thrown away

    @property
    def size(self) -> int:
        """Bytes that it moves."""
        return self.blocks[-1].stop - self.blocks[0].start


def plan_reads(blocks: Iterable[Block], *, most_bytes: int) -> list[RangedRead]:
    """Return the reads that bring all blocks: neighbours in one, near ones too as long as little is wasted.

    The smallest gaps are bridged first, until the bytes thrown away would be more than 5% of those wanted. Blocks of
    one object do not overlap; a read of several blocks asks for ``most_bytes`` at the most.
    """
    ordered = sorted(blocks, key=lambda block: (block.source.uri, block.start))
    bridged = _bridged(ordered)
    groups: list[list[Block]] = []
    for number, block in enumerate(ordered):
        if number in bridged and block.stop - groups[-1][0].start <= most_bytes:
            groups[-1].append(block)
        else:
            groups.append([block])
    return [RangedRead(tuple(group)) for group in groups]


def _bridged(ordered: Sequence[Block]) -> set[int]:
    """Return the numbers of the blocks that are joined to the one before them."""
    gaps = []
    for number, (before, block) in enumerate(itertools.pairwise(ordered), start=1):
        gap = block.start - before.stop
        if before.source.uri == block.source.uri and 0 <= gap <= _LONGEST_GAP_BYTES:
            gaps.append((gap, number))
    budget = _WASTE * sum(block.size for block in ordered)
    wasted = itertools.accumulate(gap for gap, _ in sorted(gaps))
    return {number for total, (_, number) in zip(wasted, sorted(gaps), strict=True) if total <= budget}
