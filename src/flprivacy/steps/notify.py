"""Step ``notify``: tell a webhook what a re-audit found."""

import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from flprivacy import __version__
from flprivacy.core.artifacts import CHANGE_FILE
from flprivacy.core.change import AuditChange
from flprivacy.core.errors import ConfigError, FlprivacyError
from flprivacy.core.events import emit
from flprivacy.core.parsing import to_mapping
from flprivacy.core.retry import Backoff, RetryConfig
from flprivacy.execution.passing import Open

LOGGER = logging.getLogger(__name__)
WEBHOOK_VARIABLE = "FLPRIVACY_WEBHOOK_URL"
_TIMEOUT_SECONDS = 10.0
_RETRY = RetryConfig(attempts=3, first_delay_seconds=1.0)
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)


def notify(*, change: Open, mlflow_run: str = "", kfp_run: str = "") -> bool:
    """Send the verdict as JSON to the webhook whose URL is in ``FLPRIVACY_WEBHOOK_URL``; without one nothing is sent.

    The URL is a secret (whoever has it can post), so it is shown nowhere. A webhook that cannot be reached is a
    warning: the audit is finished and filed.

    Args:
        change: folder of ``change.json``.
        mlflow_run: id of the audit's run in MLflow; empty where nothing was audited.
        kfp_run: id of the pipeline run.

    Returns:
        Whether the webhook accepted it.

    Raises:
        AuditError: there is no verdict.
    """
    found = AuditChange.read(change / CHANGE_FILE)
    if not os.environ.get(WEBHOOK_VARIABLE, "").strip():
        LOGGER.info("%s is not set; nobody is told", WEBHOOK_VARIABLE)
        return False
    try:
        tell(message(found, mlflow_run=mlflow_run, kfp_run=kfp_run))
    except (ConfigError, UntoldError) as error:
        LOGGER.warning("the webhook was not told: %s", error)
        emit("warning", message=f"the webhook was not told: {error}")
        return False
    LOGGER.info("the webhook was told: %s", found.verdict)
    return True


def tell(words: Mapping[str, Any]) -> None:
    """Post a message to the webhook whose URL is in ``FLPRIVACY_WEBHOOK_URL``.

    Raises:
        ConfigError: there is no such URL, or it would carry the message in the clear.
        UntoldError: it was not taken.
    """
    url = os.environ.get(WEBHOOK_VARIABLE, "").strip()
    _check(url)
    _post(url, json.dumps(words).encode())


def message(change: AuditChange, *, mlflow_run: str = "", kfp_run: str = "") -> dict[str, Any]:
    """Return what a webhook gets: the verdict, its reasons and its evidence, and no identifier of anybody."""
    facts = {"kind": "flprivacy.re_audit", "schema": 1, "flprivacy": __version__}
    runs = {"mlflow_run": mlflow_run, "kfp_run": kfp_run}
    text = f"flprivacy: {change.verdict} ({change.cohort_name}): {change.reason}"  # what chat services show
    return {**facts, **runs, "text": text, **to_mapping(change)}


class UntoldError(FlprivacyError):
    """The webhook did not take the message; the text does not name its URL."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could lead from https to http, or elsewhere."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow none."""


def _check(url: str) -> None:
    """Refuse a URL that would carry the verdict in the clear.

    Raises:
        ConfigError: it is none, or not https. The message does not show it.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise ConfigError(f"{WEBHOOK_VARIABLE} is not a URL; give one that starts with https://") from error
    if not host or parts.scheme not in ("https", "http"):
        raise ConfigError(f"{WEBHOOK_VARIABLE} is not a URL; give one that starts with https://")
    if parts.scheme != "https" and host not in _THIS_MACHINE:
        raise ConfigError(f"{WEBHOOK_VARIABLE} is not encrypted; give a URL that starts with https://")


def _post(url: str, body: bytes) -> None:
    """Send the message, trying again a few times.

    Raises:
        UntoldError: it was not taken.
    """
    opener = urllib.request.build_opener(_NoRedirect)
    headers = {"Content-Type": "application/json", "User-Agent": f"flprivacy/{__version__}"}
    backoff = Backoff(_RETRY)
    while True:
        try:
            request = urllib.request.Request(url, data=body, headers=headers, method="POST")
            with opener.open(request, timeout=_TIMEOUT_SECONDS):
                return
        except urllib.error.HTTPError as error:
            error.close()
            why = f"it answered {error.code}"
            if error.code not in _MAY_PASS:
                raise UntoldError(f"{why}; check {WEBHOOK_VARIABLE}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = f"it cannot be reached ({type(error).__name__})"
        delay = backoff.failed()
        if delay is None:
            raise UntoldError(f"{why}, {backoff.failures} times")
        time.sleep(delay)
