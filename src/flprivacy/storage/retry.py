"""Trying again: exponential backoff with jitter, and a deadline."""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from flprivacy.core.errors import StorageError
from flprivacy.storage.config import RetryConfig
from flprivacy.storage.objects import TransientError

R = TypeVar("R")
LOGGER = logging.getLogger(__name__)
# A server that was never reached is more likely a wrong endpoint than one that restarts.
_ATTEMPTS_BEFORE_FIRST_CONTACT = 4


class InterruptedTransferError(StorageError):
    """A transfer was given up because another part of it failed, or the process is ending."""


class Contact:
    """What all requests of one store share: whether the server ever answered, and whether to stop."""

    def __init__(self) -> None:
        self.reached = False
        self.stop = threading.Event()

    def check(self) -> None:
        """Raise InterruptedTransferError once :attr:`stop` is set."""
        if self.stop.is_set():
            raise InterruptedTransferError("transfer given up; run again: what was fetched and verified is kept")


class Backoff:
    """Waits between the tries of one piece of work."""

    def __init__(self, config: RetryConfig, contact: Contact) -> None:
        self._config, self._contact = config, contact
        # Not seeded: it changes no result, and processes that fail together must not come back together.
        self._jitter = random.SystemRandom()
        self._failures, self._since = 0, 0.0

    def progressed(self) -> None:
        """Start counting afresh."""
        self._contact.reached = True
        self._failures = 0

    def failed(self, error: TransientError) -> None:
        """Wait before the next try.

        Raises:
            StorageError: no further try is allowed; the message ends with what to do.
            InterruptedTransferError: the transfer was stopped meanwhile.
        """
        if not self._failures:
            self._since = time.monotonic()
        self._failures += 1
        self._contact.reached |= not error.unreachable
        attempts = self._config.attempts
        if error.unreachable and not self._contact.reached:
            attempts = min(attempts, _ATTEMPTS_BEFORE_FIRST_CONTACT)
        longest = min(
            self._config.longest_delay_seconds, self._config.first_delay_seconds * 2.0 ** (self._failures - 1)
        )
        delay = longest * self._jitter.uniform(0.5, 1.0)
        spent = time.monotonic() - self._since
        if self._failures >= attempts or spent + delay > self._config.deadline_seconds:
            raise StorageError(f"{error}; gave up after {self._failures} tries, {_REMEDY}") from error
        LOGGER.info("%s; try %d follows in %.1f s", error, self._failures + 1, delay)
        self._contact.stop.wait(delay)
        self._contact.check()


_REMEDY = "check the network and the endpoint and run again: what was fetched and verified is kept"


def retrying(config: RetryConfig, contact: Contact, call: Callable[[], R]) -> R:
    """Return what ``call`` returns, calling it again after every failure that may pass.

    Raises:
        StorageError: it went on failing, or failed for good.
    """
    backoff = Backoff(config, contact)
    while True:
        contact.check()
        try:
            result = call()
        except TransientError as error:
            backoff.failed(error)
        else:
            backoff.progressed()
            return result
