"""Trying again: how often, how long, and never after a refusal."""

import threading
import time

import pytest

from flprivacy.core.errors import StorageError
from flprivacy.storage.config import RetryConfig
from flprivacy.storage.objects import MissingObjectError, TransientError
from flprivacy.storage.retry import Backoff, Contact, InterruptedTransferError, retrying


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


def _delays(config: RetryConfig, monkeypatch: pytest.MonkeyPatch, failures: int) -> list[float]:
    contact, delays = Contact(), []
    monkeypatch.setattr(contact.stop, "wait", lambda seconds: delays.append(seconds))
    backoff = Backoff(config, contact)
    for _ in range(failures):
        backoff.failed(TransientError("busy"))
    return delays


def test_delays_double_within_their_jitter_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    config = RetryConfig(attempts=20, first_delay_seconds=1.0, longest_delay_seconds=8.0, deadline_seconds=1e9)
    for number, delay in enumerate(_delays(config, monkeypatch, 8)):
        longest = min(8.0, 2.0**number)
        assert longest / 2 <= delay <= longest


def test_jitter_differs_between_processes_that_fail_together(monkeypatch: pytest.MonkeyPatch) -> None:
    config = RetryConfig(attempts=20, deadline_seconds=1e9)
    assert _delays(config, monkeypatch, 5) != _delays(config, monkeypatch, 5)


def test_a_passing_failure_passes() -> None:
    flaky = _Flaky(3)
    assert retrying(RetryConfig(first_delay_seconds=0.0), Contact(), flaky) == "answer"
    assert flaky.calls == 4


def test_attempts_end_with_the_failure_and_a_remedy() -> None:
    flaky = _Flaky(100)
    with pytest.raises(StorageError, match=r"s3://b/k: busy; gave up after 4 tries, check the network") as caught:
        retrying(RetryConfig(attempts=4, first_delay_seconds=0.0), Contact(), flaky)
    assert flaky.calls == 4
    assert not isinstance(caught.value, TransientError)


def test_the_deadline_ends_it_too() -> None:
    started = time.monotonic()
    with pytest.raises(StorageError, match="gave up"):
        retrying(
            RetryConfig(attempts=10_000, first_delay_seconds=0.02, deadline_seconds=0.2), Contact(), _Flaky(10_000)
        )
    assert time.monotonic() - started < 5.0


@pytest.mark.parametrize("error", [StorageError("access denied; ask"), MissingObjectError("none; check")])
def test_a_refusal_is_never_tried_again(error: StorageError) -> None:
    flaky = _Flaky(5, error)
    with pytest.raises(type(error)):
        retrying(RetryConfig(), Contact(), flaky)
    assert flaky.calls == 1


def test_a_server_that_was_never_reached_is_given_up_sooner() -> None:
    config, error = RetryConfig(attempts=9, first_delay_seconds=0.0), TransientError("gone", unreachable=True)
    never, once = _Flaky(100, error), _Flaky(100, error)
    with pytest.raises(StorageError):
        retrying(config, Contact(), never)
    reached = Contact()
    reached.reached = True
    with pytest.raises(StorageError):
        retrying(config, reached, once)
    assert (never.calls, once.calls) == (4, 9)


def test_progress_starts_the_count_afresh() -> None:
    backoff = Backoff(RetryConfig(attempts=3, first_delay_seconds=0.0), Contact())
    for _ in range(10):
        backoff.failed(TransientError("busy"))
        backoff.progressed()


def test_stopping_ends_a_wait_at_once() -> None:
    contact = Contact()
    threading.Timer(0.05, contact.stop.set).start()
    started = time.monotonic()
    with pytest.raises(InterruptedTransferError):
        retrying(RetryConfig(first_delay_seconds=60.0), contact, _Flaky(5))
    assert time.monotonic() - started < 5.0
