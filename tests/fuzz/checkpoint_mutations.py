"""Damaged checkpoints: archives with a member changed, descriptions with a value changed; and how they are tried."""

import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from file_mutations import memory_growth, mutations

from flprivacy.core.errors import FlprivacyError

_MEMORY = 250 << 20
NASTY = [
    None,
    -1,
    0,
    10**9,
    10**30,
    1e308,
    "x" * 5000,
    [],
    {},
    [[]],
    True,
    "Lambda",
    "../../x",
    "\x1b[31m",
    "\ud800",
]


def fuzz(path: Path, damaged: Iterator[bytes], read: Callable[[Path], object]) -> Counter[str]:
    """Read damaged copies in a file's place; each is read, or refused in one line of bearable length."""
    outcomes: Counter[str] = Counter()
    texts: list[str] = []
    before = {*path.parent.iterdir(), path}

    def run() -> None:
        for content in damaged:
            path.write_bytes(content)
            try:
                read(path)
                outcomes["read"] += 1
            except FlprivacyError as error:
                outcomes["refused"] += 1
                texts.append(str(error))

    assert memory_growth(run) < _MEMORY
    assert set(path.parent.iterdir()) == before  # nothing half-written, nothing unpacked
    assert outcomes["refused"] > 0
    for text in texts:
        assert text.isprintable()
        assert len(text) < 1500
    return outcomes


def with_nasty_value(description: bytes, place: Sequence[Any], rng: np.random.Generator) -> bytes:
    """Return a JSON description with one of NASTY at a place."""
    changed = json.loads(description)
    *way, last = place
    node = changed
    for step in way:
        node = node[step]
    node[last] = NASTY[int(rng.integers(len(NASTY)))]
    return json.dumps(changed).encode()


def rezipped(data: bytes, member: str, count: int, seed: int) -> Iterator[bytes]:
    """Yield archives of which one member is damaged and the checksums are right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        content = archive.read(member)
    for damaged in mutations(content, count, seed=seed, head=len(content)):
        yield with_member(data, member, damaged)


def with_member(data: bytes, member: str, content: bytes) -> bytes:
    """Return an archive with another content of one member."""
    whole = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(whole, "w") as changed:
        for name in archive.namelist():
            changed.writestr(name, content if name == member else archive.read(name))
    return whole.getvalue()


def places(node: object, way: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield (*way, key)
        yield from places(value, (*way, key))
