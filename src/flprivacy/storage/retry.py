"""Requests to a store that are tried again, as long as the server may come back and nobody gave the transfer up."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from flprivacy.core.errors import StorageError
from flprivacy.core.retry import Backoff, RetryConfig

R = TypeVar("R")
LOGGER = logging.getLogger(__name__)
_REMEDY = "check the network and the endpoint and run again: what was fetched and verified is kept"


class TransientError(StorageError):
    """A failure that may pass; whoever gets it tries again."""

    def __init__(self, message: str, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable  # no connection came about at all, as with a wrong endpoint


class InterruptedTransferError(StorageError):
    """A transfer was given up because another part of it failed, or the process is ending."""


class Contact:
    """What all requests of one store share: how they retry, whether the server ever answered, whether to stop."""

    def __init__(self, config: RetryConfig) -> None:
        self.config = config
        self.reached = False
        self.stop = threading.Event()

    def check(self) -> None:
        """Raise InterruptedTransferError once :attr:`stop` is set."""
        if self.stop.is_set():
            raise InterruptedTransferError("transfer given up; run again: what was fetched and verified is kept")

    def retrying(self, call: Callable[[], R]) -> R:
        """Return what ``call`` returns, calling it again after every failure that may pass."""
        retries = Retries(self)
        while True:
            self.check()
            try:
                result = call()
            except TransientError as error:
                retries.failed(error)
            else:
                retries.progressed()
                return result


class Retries:
    """The tries of one piece of work."""

    def __init__(self, contact: Contact) -> None:
        self._contact, self._backoff = contact, Backoff(contact.config)

    def progressed(self) -> None:
        """Start counting afresh."""
        self._contact.reached = True
        self._backoff.progressed()

    def failed(self, error: TransientError) -> None:
        """Wait before the next try; raise StorageError where none is allowed, or the transfer was given up."""
        contact, attempts = self._contact, self._contact.config.attempts
        contact.reached |= not error.unreachable
        if not contact.reached:
            attempts = min(attempts, contact.config.attempts_before_first_contact)
        delay = self._backoff.failed(attempts=attempts)
        if delay is None:
            raise StorageError(f"{error}; gave up after {self._backoff.failures} tries, {_REMEDY}") from error
        LOGGER.info("%s; try %d follows in %.1f s", error, self._backoff.failures + 1, delay)
        contact.stop.wait(delay)
        contact.check()
