"""Requests to the API: what is tried again, what is not, and what each refusal means for whoever gave the command."""

import json
import math
from collections.abc import Callable, Iterator
from time import sleep
from typing import Any, TypeVar

import urllib3
from kfp_server_api import ApiException

from flprivacy.core.errors import FlprivacyError
from flprivacy.core.retry import Backoff, RetryConfig

R = TypeVar("R")
PAGE_SIZE = 100
_TRANSIENT = (429, 502, 503, 504)
_MOST_LETTERS = 300
_TIMEOUT_SECONDS = (5.0, 60.0)  # for a connection, and for an answer
RETRY = RetryConfig(attempts=5, first_delay_seconds=1.0, longest_delay_seconds=15.0, deadline_seconds=math.inf)


class ClusterError(FlprivacyError):
    """Kubeflow Pipelines cannot be reached, refuses, or ended a run in failure."""


class AbsentError(ClusterError):
    """There is no such thing on the server (404)."""


class TakenError(ClusterError):
    """Something of that name exists already (409)."""


class Caller:
    """Calls functions of the official client with bounded retries, and says in one line why it gave up.

    Attributes:
        host: of the API, for messages.
        retry: how long it tries: after no connection, 429, 502, 503 and 504.
    """

    def __init__(self, host: str, retry: RetryConfig = RETRY) -> None:
        self.host, self.retry = host, retry

    def __call__(
        self,
        what: str,
        function: Callable[..., R],
        *words: Any,
        found: Callable[[], R | None] | None = None,
        **named: Any,
    ) -> R:
        """Return ``function(*words, **named)``.

        Args:
            what: what is being done, for messages, such as ``start the run``.
            function: of a generated API, which takes ``_request_timeout``.
            words: its positional arguments.
            found: for a function that makes something: looks whether a try whose answer was lost made it after all.
            named: its named arguments.

        Raises:
            AbsentError: 404.
            TakenError: 409.
            ClusterError: any other refusal, or no answer in spite of all tries.
        """
        backoff = Backoff(self.retry)
        while True:
            if backoff.failures and found is not None:
                earlier = found()
                if earlier is not None:
                    return earlier
            try:
                return function(*words, _request_timeout=_TIMEOUT_SECONDS, **named)
            except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
                delay = backoff.failed()
                if delay is None or not _may_pass(error):
                    raise self._refusal(what, error, backoff.failures) from error
            sleep(delay)

    def pages(self, what: str, function: Callable[..., Any], field: str, *words: Any, **named: Any) -> Iterator[Any]:
        """Yield every item of a listing, page by page."""
        token = ""
        while True:
            page = self(what, function, *words, page_token=token, page_size=PAGE_SIZE, **named)
            yield from getattr(page, field) or ()
            token = page.next_page_token or ""
            if not token:
                return

    def _refusal(self, what: str, error: Exception, tries: int) -> ClusterError:
        where = f"{self.host}: cannot {what}"
        if not isinstance(error, ApiException) or not error.status:
            reason = _one_line(str(getattr(error, "reason", None) or error))
            return ClusterError(
                f"{where}: Kubeflow Pipelines cannot be reached ({reason}; {tries} tries); check --host "
                "(KFP_ENDPOINT), the network, and a port-forward if you use one"
            )
        said = _said(error)
        refusals: dict[int, tuple[type[ClusterError], str]] = {
            401: (ClusterError, "not signed in (401); set KFP_TOKEN, or KF_PIPELINES_SA_TOKEN_PATH in a pod"),
            403: (ClusterError, "not allowed (403); ask for access to this namespace, or give another --namespace"),
            404: (AbsentError, "no such thing (404); check the name and --namespace, and that --host is the API's"),
            409: (TakenError, "exists already (409)"),
        }
        if error.status in refusals:
            kind, rule = refusals[error.status]
            return kind(f"{where}: {rule}{said}")
        if error.status in _TRANSIENT:
            return ClusterError(f"{where}: unavailable ({error.status}) in {tries} tries{said}; try again later")
        advice = "look into the API server's log" if error.status >= 500 else "mend what it names"
        return ClusterError(f"{where}: refused ({error.status}){said}; {advice}")


def named(name: str) -> str:
    """Return the API's filter for things of a display name."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _may_pass(error: Exception) -> bool:
    if isinstance(error, ApiException):
        return error.status in _TRANSIENT
    return isinstance(error, urllib3.exceptions.HTTPError) and not isinstance(
        error, urllib3.exceptions.LocationValueError
    )


def _said(error: ApiException) -> str:
    """Return what the server's answer says, if it says something that a person can read."""
    try:
        body = json.loads(error.body or "")
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    text = body.get("message") or body.get("error_message") or body.get("error") or ""
    return f": {_one_line(str(text))}" if text else ""


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."
