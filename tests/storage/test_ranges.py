"""Coalescing: every wanted byte is brought once, neighbours together, and little is wasted."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from flprivacy.storage.backends.contract import ObjectStat
from flprivacy.storage.ranges import Block, RangedRead, plan_reads


def _blocks(rows: list[int], size: int, uri: str = "s3://b/a") -> list[Block]:
    stat = ObjectStat(uri=uri, size=10**12, version="1")
    path = Path(uri.rpartition("/")[2])
    return [Block(source=stat, start=128 + r * size, size=size, path=path, offset=i * size) for i, r in enumerate(rows)]


def _moved(plan: list[RangedRead]) -> int:
    return sum(read.size for read in plan)


def test_neighbours_are_one_request_up_to_the_part() -> None:
    plan = plan_reads(_blocks(list(range(10)), 100), most_bytes=400)
    assert [len(read.blocks) for read in plan] == [4, 4, 2]
    assert _moved(plan) == 1000


def test_a_block_larger_than_a_part_is_a_request_of_its_own() -> None:
    plan = plan_reads(_blocks([0, 1, 2], 1000), most_bytes=400)
    assert [len(read.blocks) for read in plan] == [1, 1, 1]


def test_small_gaps_are_bridged_first_and_within_the_budget() -> None:
    size = 20  # gaps of 1, 7, 0 and 18 volumes between 20: one may be wasted
    rows = [0, 2, 10, 11, 30, *range(31, 46)]
    plan = plan_reads(_blocks(rows, size), most_bytes=10**6)
    assert [len(read.blocks) for read in plan] == [2, 2, 16]
    assert _moved(plan) == 21 * size


def test_long_gaps_are_never_bridged() -> None:
    few, many = _blocks([0, 12], 1 << 20), _blocks([0, 1, *range(3, 30)], 1 << 20)
    assert len(plan_reads(few + _blocks(list(range(13, 600)), 1 << 20), most_bytes=10**10)) == 2
    assert len(plan_reads(many, most_bytes=10**10)) == 1


def test_objects_are_kept_apart() -> None:
    plan = plan_reads(_blocks([0], 100, "s3://b/a") + _blocks([1], 100, "s3://b/b"), most_bytes=10**6)
    assert {read.blocks[0].source.uri for read in plan} == {"s3://b/a", "s3://b/b"}


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
    plan = plan_reads(wanted, most_bytes=part)
    brought = [block for read in plan for block in read.blocks]
    assert sorted(map(id, brought)) == sorted(map(id, wanted))
    for read in plan:
        assert read.size <= part or len(read.blocks) == 1
        assert len({block.source for block in read.blocks}) == 1
        assert all(a.stop <= b.start for a, b in itertools.pairwise(read.blocks))
    assert _moved(plan) <= 1.05 * len(wanted) * size
