"""Backoff: when whatever failed is tried again - a request to a store, to Kubeflow Pipelines, to a webhook."""

import random
import time
from dataclasses import dataclass

from flprivacy.core.checks import check


@dataclass(frozen=True, kw_only=True)
class RetryConfig:
    """How long something that fails is tried again. Only failures that may pass are: never a refusal."""

    attempts: int = 10  # tries in a row without progress
    first_delay_seconds: float = 0.5  # wait after the first failure; it doubles with each further one
    longest_delay_seconds: float = 20.0  # it grows no longer than this
    deadline_seconds: float = 180.0  # time without progress after which no further try is begun

    def __post_init__(self) -> None:
        check(self.attempts >= 1, "attempts", self.attempts, "must be at least 1")
        for name in ("first_delay_seconds", "longest_delay_seconds", "deadline_seconds"):
            check(getattr(self, name) >= 0.0, name, getattr(self, name), "must not be negative")


class Backoff:
    """The delays between the tries of one piece of work: exponential, with jitter, and bounded.

    Attributes:
        failures: in a row.
    """

    def __init__(self, config: RetryConfig) -> None:
        self.failures = 0
        self._config, self._since = config, 0.0
        # Not seeded: it changes no result, and processes that fail together must not come back together.
        self._jitter = random.SystemRandom()

    def progressed(self) -> None:
        """Start counting afresh."""
        self.failures = 0

    def failed(self, *, attempts: int | None = None) -> float | None:
        """Count a failure; return seconds until the next try, None to give up after ``attempts`` or as configured."""
        if not self.failures:
            self._since = time.monotonic()
        self.failures += 1
        config = self._config
        longest = min(config.longest_delay_seconds, config.first_delay_seconds * 2.0 ** (self.failures - 1))
        delay = longest * self._jitter.uniform(0.5, 1.0)
        late = time.monotonic() - self._since + delay > config.deadline_seconds
        return None if late or self.failures >= (attempts or config.attempts) else delay
