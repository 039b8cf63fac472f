"""Backoff: delays double within their jitter, and end with the attempts or the deadline."""

import pytest

from flprivacy.core.errors import ConfigError
from flprivacy.core.retry import Backoff, RetryConfig


def _delays(config: RetryConfig, failures: int) -> list[float | None]:
    backoff = Backoff(config)
    return [backoff.failed() for _ in range(failures)]


def test_delays_double_within_their_jitter_up_to_the_longest() -> None:
    config = RetryConfig(attempts=20, first_delay_seconds=1.0, longest_delay_seconds=8.0, deadline_seconds=1e9)
    for number, delay in enumerate(_delays(config, 8)):
        longest = min(8.0, 2.0**number)
        assert delay is not None
        assert longest / 2 <= delay <= longest
    assert _delays(config, 8) != _delays(config, 8)  # those who fail together do not come back together


def test_attempts_are_counted_in_a_row_and_can_be_fewer() -> None:
    backoff = Backoff(RetryConfig(attempts=3, first_delay_seconds=0.0))
    assert [backoff.failed(), backoff.failed(), backoff.failed()] == [0.0, 0.0, None]
    assert backoff.failures == 3
    backoff.progressed()
    assert backoff.failed() == 0.0
    assert backoff.failed(attempts=2) is None


def test_no_try_begins_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("flprivacy.core.retry.time.monotonic", lambda: now)
    backoff = Backoff(RetryConfig(attempts=99, first_delay_seconds=1.0, longest_delay_seconds=1.0, deadline_seconds=5))
    assert backoff.failed() is not None
    now = 104.9
    assert backoff.failed() is None
    backoff.progressed()
    assert backoff.failed() is not None  # the time counts from the first failure after progress


@pytest.mark.parametrize("field", ["attempts", "first_delay_seconds", "deadline_seconds"])
def test_wrong_values_are_named(field: str) -> None:
    with pytest.raises(ConfigError, match=f"{field} is -1"):
        RetryConfig(**{field: -1})
