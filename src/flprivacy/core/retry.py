"""Backoff: when whatever failed is tried again - a request to a store, to MLflow, to Kubeflow Pipelines, to a webhook.

In a pod a step waits for minutes until a server is back that it needs: nobody else tries again what ended with an
error, neither Argo with its stock settings nor a person at night.
"""

import os
import random
import time
from dataclasses import dataclass

from flprivacy.core.errors import check

PATIENCE_VARIABLE = "FLPRIVACY_PATIENCE_SECONDS"  # how long a step waits for a server; by default only in a pod
_POD_VARIABLE = "KFP_POD_NAME"  # Kubeflow sets it in every pod
_PATIENCE_IN_A_POD_SECONDS = 360.0
_ANY_NUMBER = 1_000_000


@dataclass(frozen=True, kw_only=True)
class RetryConfig:
    """How long something that fails is tried again. Only failures that may pass are: never a refusal."""

    attempts: int = 10  # tries in a row without progress
    # likewise of a server that never answered: more likely a wrong endpoint than one that restarts
    attempts_before_first_contact: int = 4
    first_delay_seconds: float = 0.5  # wait after the first failure; it doubles with each further one
    longest_delay_seconds: float = 20.0  # it grows no longer than this
    deadline_seconds: float = 180.0  # time without progress after which no further try is begun

    def __post_init__(self) -> None:
        for name in ("attempts", "attempts_before_first_contact"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        for name in ("first_delay_seconds", "longest_delay_seconds", "deadline_seconds"):
            check(getattr(self, name) >= 0.0, name, getattr(self, name), "must not be negative")


def patience_seconds() -> float:
    """Return how long this process waits for a server that it needs; 0: no longer than its requests do themselves.

    Raises:
        ConfigError: the variable holds no number of seconds.
    """
    text = os.environ.get(PATIENCE_VARIABLE, "")
    if not text:
        return _PATIENCE_IN_A_POD_SECONDS if os.environ.get(_POD_VARIABLE) else 0.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    check(seconds >= 0.0, PATIENCE_VARIABLE, text, "give a number of seconds, such as 360")
    return seconds


def patient(seconds: float) -> RetryConfig:
    """Return the configuration of a process that tries for so many seconds, however often that is."""
    return RetryConfig(attempts=_ANY_NUMBER, attempts_before_first_contact=_ANY_NUMBER, deadline_seconds=seconds)


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
