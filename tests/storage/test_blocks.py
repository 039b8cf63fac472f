"""Coalescing: every wanted byte is brought once, neighbours together, and little is wasted."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from flprivacy.storage.blocks import Block, Request, requests
from flprivacy.storage.objects import ObjectStat


def _blocks(rows: list[int], size: int, uri: str = "s3://b/a") -> list[Block]:
    stat = ObjectStat(uri=uri, size=10**12, version="1")
    path = Path(uri.rpartition("/")[2])
    return [Block(source=stat, start=128 + r * size, size=size, path=path, offset=i * size) for i, r in enumerate(rows)]


def _moved(plan: list[Request]) -> int:
    return sum(request.size for request in plan)


def test_neighbours_are_one_request_up_to_the_part() -> None:
    plan = requests(_blocks(list(range(10)), 100), part_bytes=400)
    assert [len(request.blocks) for request in plan] == [4, 4, 2]
    assert _moved(plan) == 1000


def test_a_block_larger_than_a_part_is_a_request_of_its_own() -> None:
    plan = requests(_blocks([0, 1, 2], 1000), part_bytes=400)
    assert [len(request.blocks) for request in plan] == [1, 1, 1]


def test_small_gaps_are_bridged_first_and_within_the_budget() -> None:
    rows = [0, 2, 10, 11, 30]  # gaps of 1, 7, 0 and 18 volumes
    plan = requests(_blocks(rows, 100), part_bytes=10**6, waste=0.2)
    assert [len(request.blocks) for request in plan] == [2, 2, 1]
    assert _moved(plan) == 600


def test_long_gaps_are_never_bridged() -> None:
    plan = requests(_blocks([0, 2], 100), part_bytes=10**6, longest_gap=99, waste=100.0)
    assert len(plan) == 2


def test_objects_are_kept_apart() -> None:
    plan = requests(_blocks([0], 100, "s3://b/a") + _blocks([1], 100, "s3://b/b"), part_bytes=10**6, waste=10.0)
    assert {request.source.uri for request in plan} == {"s3://b/a", "s3://b/b"}


@pytest.mark.parametrize("seed", range(20))
def test_any_sample_is_covered_once_with_little_waste(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, part = int(rng.integers(1, 5000)), int(rng.integers(1000, 100_000))
    wanted = []
    for name in "abc":
        n = int(rng.integers(1, 400))
        rows = np.flatnonzero(rng.random(n) < rng.random()).tolist()
        wanted += _blocks(rows, size, f"s3://b/{name}")
    rng.shuffle(wanted)  # type: ignore[arg-type]
    plan = requests(wanted, part_bytes=part)
    brought = [block for request in plan for block in request.blocks]
    assert sorted(map(id, brought)) == sorted(map(id, wanted))
    for request in plan:
        assert request.size <= part or len(request.blocks) == 1
        assert all(block.source == request.source for block in request.blocks)
        assert all(a.stop <= b.start for a, b in itertools.pairwise(request.blocks))
    assert _moved(plan) <= 1.05 * len(wanted) * size
