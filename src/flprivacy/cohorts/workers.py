"""Work on many items of a cohort by several processes, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from flprivacy.core.errors import CohortError

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    call: Callable[[Item], Result], items: Sequence[Item], *, workers: int, chunk: int, what: str
) -> Iterator[Result]:
    """Yield ``call`` of every item, in order, by processes that run at most a few chunks ahead.

    Args:
        call: can be pickled, as can items and results.
        items: what it is called with.
        workers: processes; 1 calls it in this one. As processes are spawned, a script that has more of them does its
            work under ``if __name__ == "__main__":``.
        chunk: items that are sent at once; large enough to hide what that takes.
        what: named in errors, such as ``rendering volumes``.

    Raises:
        CohortError: a process was killed.
    """
    if workers == 1:
        yield from map(call, items)
        return
    # Not fork: this process may run TensorFlow's threads, whose locks a fork would copy in whatever state they are.
    executor = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    ahead: deque[Future[list[Result]]] = deque()
    try:
        for start in range(0, len(items), chunk):
            ahead.append(executor.submit(_each, call, items[start : start + chunk]))
            if len(ahead) > 2 * workers:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()
    except BrokenProcessPool as error:
        raise CohortError(
            f"a worker process was killed while {what}, most likely for memory; use fewer than {workers} workers or "
            "more memory (a script needs `if __name__ == '__main__':` as well)"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _each(call: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [call(item) for item in items]
