"""Several processes give what one gives, in order, and one that dies is one clear error."""

import os
from collections.abc import Iterator

import pytest

from flprivacy.cohorts.workers import in_order
from flprivacy.core.errors import CohortError


def where(number: int) -> tuple[int, int]:
    return number, os.getpid()


def dies(number: int) -> int:
    if number == 5:
        os._exit(9)  # as a lack of memory would
    return number


def fails(number: int) -> int:
    if number == 5:
        raise CohortError("scan 5")
    return number


@pytest.mark.parametrize(("workers", "chunk"), [(1, 4), (2, 1), (2, 4), (3, 100)])
def test_results_come_in_order(workers: int, chunk: int) -> None:
    found = list(in_order(where, range(30), workers=workers, chunk=chunk, what="testing"))
    assert [number for number, _ in found] == list(range(30))
    others = {process for _, process in found} - {os.getpid()}
    assert bool(others) == (workers > 1)


def test_no_more_than_a_few_chunks_are_ahead() -> None:
    asked = []

    class Counted(list[int]):
        def __getitem__(self, place):  # type: ignore[no-untyped-def]
            asked.append(place)
            return list(self)[place]

    found: Iterator[tuple[int, int]] = in_order(where, Counted(range(100)), workers=2, chunk=2, what="testing")
    assert next(found)[0] == 0
    assert len(asked) == 5
    found.close()  # type: ignore[attr-defined]


def test_a_killed_worker_is_one_clear_error() -> None:
    with pytest.raises(CohortError, match=r"a worker process was killed while testing.* fewer than 2 workers"):
        list(in_order(dies, range(8), workers=2, chunk=1, what="testing"))


def test_an_error_of_the_work_is_passed_on() -> None:
    with pytest.raises(CohortError, match="scan 5"):
        list(in_order(fails, range(8), workers=2, chunk=1, what="testing"))
