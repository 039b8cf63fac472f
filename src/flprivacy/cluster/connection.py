"""Connect to Kubeflow Pipelines: its address, and who asks. Secrets come from files or the environment only."""

import os
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import urllib3

from flprivacy.cluster.requests import Caller, ClusterError
from flprivacy.core.errors import ConfigError

TOKEN_VARIABLE = "KFP_TOKEN"
CA_VARIABLE = "KFP_CA_CERT"
UI_VARIABLE = "KF_PIPELINES_UI_ENDPOINT"
_FIRST_ATTEMPTS = 3  # a wrong address is more likely than a server that is away
_IN_CLUSTER = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """An installation of Kubeflow Pipelines that answers.

    Attributes:
        client: the official client, a ``kfp.Client``.
        call: calls its functions.
        namespace: the profile's in a multi-user installation, empty in any other.
        ui: address of the web pages, for links.
    """

    client: Any
    call: Caller
    namespace: str
    ui: str

    def run_link(self, run_id: str) -> str:
        """Return the address of a run's page."""
        return f"{self.ui}/#/runs/details/{run_id}"

    def schedule_link(self, schedule_id: str) -> str:
        """Return the address of a recurring run's page."""
        return f"{self.ui}/#/recurringrun/details/{schedule_id}"


def connect(host: str, namespace: str = "") -> Cluster:
    """Return the installation at ``host``, once it has answered.

    Args:
        host: URL of the API or of the UI that passes it on; empty: the service's address, within the cluster.
        namespace: of the user's profile; needed by a multi-user installation only.

    Raises:
        ConfigError: no or a wrong address, or a multi-user installation and no namespace.
        ClusterError: it cannot be reached or refuses.
    """
    address = _address(host)
    call = Caller(address)
    client = _client(address, call)
    if client.get_kfp_healthz().multi_user:
        namespace = namespace or client.get_user_namespace()
        if not namespace:
            raise ConfigError(
                f"{address}: serves several users; say with --namespace (KFP_NAMESPACE) whose runs to use"
            )
    else:
        namespace = ""  # one user: the server itself leaves it out of every answer
    ui = os.environ.get(UI_VARIABLE, "") or address
    return Cluster(client=client, call=call, namespace=namespace, ui=ui.rstrip("/"))


def _address(host: str) -> str:
    if not host:
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            return _IN_CLUSTER
        raise ConfigError(
            "--host is missing: give the address of Kubeflow Pipelines, or set KFP_ENDPOINT, such as "
            "http://localhost:8080 with 'kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80'"
        )
    host = host.rstrip("/")
    try:
        parts = urllib3.util.parse_url(host)
    except urllib3.exceptions.LocationParseError:
        parts = urllib3.util.Url()
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ConfigError(f"--host {_shown(host)!r}: write it as a URL, such as https://kubeflow.example.org/pipeline")
    if parts.auth or parts.query or parts.fragment:
        raise ConfigError(
            f"--host {_shown(host)!r}: leave out all but scheme, host, port and path; a token is read from KFP_TOKEN"
        )
    return host


def _shown(host: str) -> str:
    """Return an address without what might be a password."""
    return re.sub(r"//[^/@]*@", "//...@", host).partition("?")[0]


def _credentials() -> Any:
    """Return the SDK's credentials of a pod, if the pod has a token of its own for Kubeflow Pipelines."""
    from kfp import client

    path = os.environ.get(client.KF_PIPELINES_SA_TOKEN_ENV) or client.KF_PIPELINES_SA_TOKEN_PATH
    if Path(path).is_file():
        return client.ServiceAccountTokenVolumeCredentials(path=path)
    if os.environ.get(client.KF_PIPELINES_SA_TOKEN_ENV):
        raise ConfigError(
            f"{client.KF_PIPELINES_SA_TOKEN_ENV} is {path!r}: there is no such file; mount the token there"
        )
    return None


def _client(address: str, call: Caller) -> Any:
    """Return the official client; its first question has bounded tries, like all others."""
    from kfp.client import Client

    class QuietClient(Client):  # type: ignore[misc]
        """The official client, whose look at the server is neither endless nor a traceback."""

        def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
            first = Caller(call.host, replace(call.retry, attempts=_FIRST_ATTEMPTS))
            look = self._healthz_api.healthz_service_get_healthz_with_http_info
            answer, _, headers = first("connect", look)
            if "json" not in headers.get("Content-Type", ""):
                raise ClusterError(
                    f"{call.host}: answers with a page, not with the API; sign in by {TOKEN_VARIABLE}, or check --host "
                    "(KFP_ENDPOINT)"
                )
            return answer

    authority = os.environ.get(CA_VARIABLE) or None
    if authority and not Path(authority).is_file():
        raise ConfigError(f"{CA_VARIABLE} is {authority!r}: there is no such file; give the CA's certificates as PEM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that it needs version 2 of the API
        return QuietClient(
            host=address,
            existing_token=os.environ.get(TOKEN_VARIABLE) or None,
            credentials=_credentials(),
            ssl_ca_cert=authority,
        )
