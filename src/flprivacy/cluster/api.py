"""Connect to Kubeflow Pipelines and call its API: retries are bounded, each refusal is one line that says what to do.

Secrets come from files or the environment only.
"""

import json
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

import urllib3
from kfp_server_api import ApiException

from flprivacy.core.errors import ConfigError, FlprivacyError
from flprivacy.core.retry import Backoff, RetryConfig

R = TypeVar("R")
TOKEN_VARIABLE = "KFP_TOKEN"
CA_VARIABLE = "KFP_CA_CERT"
UI_VARIABLE = "KF_PIPELINES_UI_ENDPOINT"
PAGE_SIZE = 100
_IN_CLUSTER = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
_FIRST_ATTEMPTS = 3  # a wrong address is more likely than a server that is down
_TIMEOUT_SECONDS = (5.0, 60.0)  # for a connection, and for an answer
RETRY = RetryConfig(attempts=5, first_delay_seconds=1.0, longest_delay_seconds=15.0, deadline_seconds=math.inf)
_TRANSIENT = (429, 502, 503, 504)
_MOST_LETTERS = 300


class ClusterError(FlprivacyError):
    """Kubeflow Pipelines cannot be reached, refuses, or ended a run in failure."""


class AbsentError(ClusterError):
    """There is no such thing on the server (404)."""


class TakenError(ClusterError):
    """Something of that name already exists (409)."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Calls functions of the official client with bounded retries."""

    host: str  # address of the API, for messages
    retry: RetryConfig = RETRY  # how long a failing request is retried

    def __call__(
        self,
        what: str,
        function: Callable[..., R],
        *args: Any,
        found: Callable[[], R | None] | None = None,
        **kwargs: Any,
    ) -> R:
        """Return ``function(*args, **kwargs)``, a call of a generated API.

        ``what`` is what is being done, for messages, such as ``start the run``. For a function that creates something,
        ``found`` looks whether an attempt whose answer was lost created it.

        AbsentError for 404, TakenError for 409, ClusterError for any other refusal or no answer after all attempts.
        """
        backoff = Backoff(self.retry)
        while True:
            earlier = found() if backoff.failures and found is not None else None
            if earlier is not None:
                return earlier
            try:
                return function(*args, _request_timeout=_TIMEOUT_SECONDS, **kwargs)
            except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
                delay = backoff.failed()
                if delay is None or not _is_transient(error):
                    raise self._refusal(what, error, backoff.failures) from error
            sleep(delay)

    def pages(self, what: str, function: Callable[..., Any], field: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Yield every item of a listing, page by page."""
        token = ""
        while True:
            page = self(what, function, *args, page_token=token, page_size=PAGE_SIZE, **kwargs)
            yield from getattr(page, field) or ()
            token = page.next_page_token or ""
            if not token:
                return

    def _refusal(self, what: str, error: Exception, attempts: int) -> ClusterError:
        where = f"{self.host}: cannot {what}"
        if not isinstance(error, ApiException) or not error.status:
            reason = _one_line(str(getattr(error, "reason", None) or error))
            return ClusterError(
                f"{where}: Kubeflow Pipelines cannot be reached ({reason}; {attempts} attempts); check --host "
                "(KFP_ENDPOINT), the network, and your port-forward if you use one"
            )
        said = _said(error)
        refusals: dict[int, tuple[type[ClusterError], str]] = {
            401: (ClusterError, f"not signed in (401); set {TOKEN_VARIABLE}, or KF_PIPELINES_SA_TOKEN_PATH in a pod"),
            403: (ClusterError, "not allowed (403); ask for access to this namespace, or give another --namespace"),
            404: (AbsentError, "not found (404); check the name and --namespace, and that --host is the API's address"),
            409: (TakenError, "already exists (409)"),
        }
        if error.status in refusals:
            kind, rule = refusals[error.status]
            return kind(f"{where}: {rule}{said}")
        if error.status in _TRANSIENT:
            return ClusterError(f"{where}: unavailable ({error.status}) in {attempts} attempts{said}; try again later")
        advice = "check the API server's log" if error.status >= 500 else "correct what the message names"
        return ClusterError(f"{where}: refused ({error.status}){said}; {advice}")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """An installation of Kubeflow Pipelines that answers."""

    client: Any  # the official client, a ``kfp.Client``
    call: Caller  # calls its functions
    namespace: str  # the profile's in a multi-user installation, empty in any other
    ui: str  # address of the web pages, for links

    def run_link(self, run_id: str) -> str:
        """Return the address of a run's page."""
        return f"{self.ui}/#/runs/details/{run_id}"

    def schedule_link(self, schedule_id: str) -> str:
        """Return the address of a recurring run's page."""
        return f"{self.ui}/#/recurringrun/details/{schedule_id}"

    def of_namespace(self) -> dict[str, str]:
        """Return the argument that limits a listing to the namespace, if there is one."""
        return {"namespace": self.namespace} if self.namespace else {}


def connect(host: str, namespace: str = "") -> Cluster:
    """Return the installation at ``host``, once it has answered.

    ``host`` is the URL of the API, or of the UI that passes requests on to it; empty: the service's address in the
    cluster. ``namespace`` is that of the user's profile; only a multi-user installation needs it. ConfigError for no
    address or a wrong one, or a multi-user installation and no namespace.
    """
    address = _address(host)
    call = Caller(host=address)
    client = _client(call)
    if client.get_kfp_healthz().multi_user:
        namespace = namespace or client.get_user_namespace()
        if not namespace:
            raise ConfigError(
                f"{address}: serves several users; give your profile's namespace with --namespace (KFP_NAMESPACE)"
            )
    else:
        namespace = ""  # single user: the server itself leaves it out of every answer
    ui = os.environ.get(UI_VARIABLE, "") or address
    return Cluster(client=client, call=call, namespace=namespace, ui=ui.rstrip("/"))


def named(name: str) -> str:
    """Return the API's filter for things with that display name."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _address(host: str) -> str:
    if not host:
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            return _IN_CLUSTER
        raise ConfigError(
            "--host is missing: give the address of Kubeflow Pipelines, or set KFP_ENDPOINT, such as "
            "http://localhost:8080 with 'kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80'"
        )
    host = host.rstrip("/")
    shown = re.sub(r"//[^/@]*@", "//...@", host).partition("?")[0]  # without what might be a password
    try:
        parts = urllib3.util.parse_url(host)
    except urllib3.exceptions.LocationParseError:
        parts = urllib3.util.Url()
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ConfigError(f"--host {shown!r}: write it as a URL, such as https://kubeflow.example.org/pipeline")
    if parts.auth or parts.query or parts.fragment:
        raise ConfigError(
            f"--host {shown!r}: give only scheme, host, port and path; a token is read from {TOKEN_VARIABLE}"
        )
    return host


def _credentials() -> Any:
    """Return the SDK's credentials of a pod, if the pod has a token of its own for Kubeflow Pipelines."""
    from kfp import client

    given = os.environ.get(client.KF_PIPELINES_SA_TOKEN_ENV)
    path = given or client.KF_PIPELINES_SA_TOKEN_PATH
    if Path(path).is_file():
        return client.ServiceAccountTokenVolumeCredentials(path=path)
    if given:
        raise ConfigError(
            f"{client.KF_PIPELINES_SA_TOKEN_ENV} is {path!r}: there is no such file; mount the token there"
        )
    return None


def _client(call: Caller) -> Any:
    """Return the official client, whose first request has bounded retries like all others."""
    from kfp.client import Client

    class BoundedClient(Client):  # type: ignore[misc]
        """The official client, whose first look at the server is neither endless nor ends in a traceback."""

        def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
            first = replace(call, retry=replace(call.retry, attempts=_FIRST_ATTEMPTS))
            look = self._healthz_api.healthz_service_get_healthz_with_http_info
            answer, _, headers = first("connect", look)
            if "json" not in headers.get("Content-Type", ""):
                raise ClusterError(
                    f"{call.host}: answers with a web page, not with the API; sign in with {TOKEN_VARIABLE}, or check "
                    "--host (KFP_ENDPOINT)"
                )
            return answer

    authority = os.environ.get(CA_VARIABLE) or None
    if authority and not Path(authority).is_file():
        raise ConfigError(f"{CA_VARIABLE} is {authority!r}: there is no such file; give the CA certificates as PEM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that it needs version 2 of the API
        return BoundedClient(
            host=call.host,
            existing_token=os.environ.get(TOKEN_VARIABLE) or None,
            credentials=_credentials(),
            ssl_ca_cert=authority,
        )


def _is_transient(error: Exception) -> bool:
    if isinstance(error, ApiException):
        return error.status in _TRANSIENT
    wrong_address = isinstance(error, urllib3.exceptions.LocationValueError)
    return isinstance(error, urllib3.exceptions.HTTPError) and not wrong_address


def _said(error: ApiException) -> str:
    """Return what the server's answer says, if a person can read it."""
    try:
        body = json.loads(error.body or "")
    except ValueError:
        return ""
    fields = ("message", "error_message", "error") if isinstance(body, dict) else ()
    text = next((str(body[field]) for field in fields if body.get(field)), "")
    return f": {_one_line(text)}" if text else ""


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."
