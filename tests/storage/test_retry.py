"""Requests tried again: never after a refusal, sooner given up where no server ever answered, stopped at once."""

import threading
import time

import pytest

from flprivacy.core.errors import StorageError
from flprivacy.core.retry import RetryConfig
from flprivacy.storage.backends.contract import MissingObjectError
from flprivacy.storage.retry import Contact, InterruptedTransferError, Retries, TransientError


class _Flaky:
    """Fails a number of times, then answers."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.calls = 0
        self._failures, self._error = failures, error or TransientError("s3://b/k: busy")

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return "answer"


def _contact(attempts: int = 10) -> Contact:
    return Contact(RetryConfig(attempts=attempts, first_delay_seconds=0.0))


def test_a_passing_failure_passes() -> None:
    flaky = _Flaky(3)
    assert _contact().retrying(flaky) == "answer"
    assert flaky.calls == 4


def test_attempts_end_with_the_failure_and_a_remedy() -> None:
    flaky = _Flaky(100)
    with pytest.raises(StorageError, match=r"s3://b/k: busy; gave up after 4 tries, check the network") as caught:
        _contact(4).retrying(flaky)
    assert flaky.calls == 4
    assert not isinstance(caught.value, TransientError)


@pytest.mark.parametrize("error", [StorageError("access denied; ask"), MissingObjectError("none; check")])
def test_a_refusal_is_never_tried_again(error: StorageError) -> None:
    flaky = _Flaky(5, error)
    with pytest.raises(type(error)):
        _contact().retrying(flaky)
    assert flaky.calls == 1


def test_a_server_that_was_never_reached_is_given_up_sooner() -> None:
    error = TransientError("gone", unreachable=True)
    never, once = _Flaky(100, error), _Flaky(100, error)
    with pytest.raises(StorageError):
        _contact(9).retrying(never)
    reached = _contact(9)
    reached.reached = True
    with pytest.raises(StorageError):
        reached.retrying(once)
    assert (never.calls, once.calls) == (4, 9)


def test_progress_starts_the_count_afresh() -> None:
    retries = Retries(_contact(3))
    for _ in range(10):
        retries.failed(TransientError("busy"))
        retries.progressed()


def test_stopping_ends_a_wait_at_once() -> None:
    contact = Contact(RetryConfig(first_delay_seconds=60.0))
    threading.Timer(0.05, contact.stop.set).start()
    started = time.monotonic()
    with pytest.raises(InterruptedTransferError):
        contact.retrying(_Flaky(5))
    assert time.monotonic() - started < 5.0
