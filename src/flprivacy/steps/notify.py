"""Step ``notify``: tell a webhook how a run ended."""

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
from flprivacy.core.audit import LEAK, Audit
from flprivacy.core.change import AuditChange
from flprivacy.core.errors import ConfigError, FlprivacyError
from flprivacy.core.events import emit
from flprivacy.core.parsing import to_mapping
from flprivacy.core.retry import Backoff, RetryConfig
from flprivacy.execution.ends import End, Failure, read_end
from flprivacy.reporting.failures import lines as failure_lines
from flprivacy.reporting.sentences import overall

LOGGER = logging.getLogger(__name__)
WEBHOOK_VARIABLE = "FLPRIVACY_WEBHOOK_URL"
_TIMEOUT_SECONDS = 10.0
_RETRY = RetryConfig(attempts=3, first_delay_seconds=1.0)
_NOT_LOGGED = "MLflow has not got the result; the log of step report-audit says why."
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)


def notify(*, pipeline: str, kfp_run: str = "", store: str = "") -> bool:
    """Send how a run ended, as JSON, to the webhook whose URL is in ``FLPRIVACY_WEBHOOK_URL``; without one, do nothing.

    It runs last, whatever became of the steps before: what they found, or why they failed, they left in the store. A
    re-audit is always told. An audit is told if a target leaks or could not be audited, or MLflow has not got it. A run
    that fails after its result, by its policy say, is told with both. One without a result has failed, and that is told
    with the causes that its steps left.

    The URL is a secret (whoever has it can post), so it is shown nowhere. A webhook that cannot be reached is a
    warning: the audit is finished and filed.

    Args:
        pipeline: name of the pipeline.
        kfp_run: id of the pipeline run.
        store: location of finished artifacts, where the steps of the run left how it went.

    Returns:
        Whether the webhook accepted it.
    """
    if not os.environ.get(WEBHOOK_VARIABLE, "").strip():
        LOGGER.info("%s is not set; nobody is told", WEBHOOK_VARIABLE)
        return False
    words = _how_it_ended(pipeline, kfp_run, store)
    if not words.get("attention", True):
        LOGGER.info("nobody needs to be told: %s", words["text"])
        return False
    try:
        tell(words)
    except (ConfigError, UntoldError) as error:
        LOGGER.warning("the webhook was not told: %s", error)
        emit("warning", message=f"the webhook was not told: {error}")
        return False
    LOGGER.info("the webhook was told: %s", words["text"])
    return True


def _how_it_ended(pipeline: str, kfp_run: str, store: str) -> dict[str, Any]:
    try:
        end = read_end(kfp_run, store)
    except FlprivacyError as error:
        end = End(result={}, failures=(Failure(step="notify", reason=f"cannot tell what the run found: {error}"),))
    causes = [str(failure) for failure in end.failures]
    if end.result and causes:
        text = f"{str(end.result['text']).rstrip('.')}. Then the run failed: {causes[-1]}"
        return {**end.result, "text": text, "attention": True, "causes": causes}
    if end.result:
        return end.result
    why = causes[-1] if causes else f"no step left a reason; 'flprivacy runs show {kfp_run}' asks the cluster"
    text = f"flprivacy: {pipeline} failed: {why}"
    return {**_facts("flprivacy.failed_run"), "kfp_run": kfp_run, "text": text, "pipeline": pipeline, "causes": causes}


def tell(words: Mapping[str, Any]) -> None:
    """Post a message to the webhook whose URL is in ``FLPRIVACY_WEBHOOK_URL``.

    Raises:
        ConfigError: there is no such URL, or it would carry the message in the clear.
        UntoldError: it was not taken.
    """
    url = os.environ.get(WEBHOOK_VARIABLE, "").strip()
    _check(url)
    _post(url, json.dumps(words).encode())


def change_message(change: AuditChange, *, mlflow_run: str = "", kfp_run: str = "") -> dict[str, Any]:
    """Return what a webhook gets of a re-audit: verdict, reasons and evidence, and no identifier of anybody."""
    runs = {"mlflow_run": mlflow_run, "kfp_run": kfp_run}
    text = f"flprivacy: {change.verdict} ({change.cohort_name}): {change.reason}"  # what chat services show
    return {**_facts("flprivacy.re_audit"), **runs, "text": text, **to_mapping(change)}


def audit_message(audit: Audit, *, mlflow_run: str, kfp_run: str = "") -> dict[str, Any]:
    """Return what a webhook gets of an audit: its first lines, and whether anybody must be told."""
    runs = {"mlflow_run": mlflow_run, "kfp_run": kfp_run}
    leaks = LEAK in [*(one.verdict for one in audit.verdicts), *(one.verdict for one in audit.membership)]
    lines = [overall(audit), *failure_lines(audit), *([] if mlflow_run else [_NOT_LOGGED])]
    facts = {"attention": leaks or not mlflow_run or bool(audit.failures), "lines": lines}
    text = f"flprivacy: {audit.name}: {' '.join(lines)}"
    return {**_facts("flprivacy.audit"), **runs, "text": text, **facts}


def _facts(kind: str) -> dict[str, Any]:
    return {"kind": kind, "schema": 1, "flprivacy": __version__}


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
