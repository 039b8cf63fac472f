"""The connection to the MLflow server, errors that name it without its password, and how long it is waited for."""

import functools
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from flprivacy.core.errors import TrackingError
from flprivacy.core.retry import Backoff, patience_seconds, patient

P = ParamSpec("P")
R = TypeVar("R")
LOGGER = logging.getLogger(__name__)
URI_VARIABLE = "MLFLOW_TRACKING_URI"
_LINE_LENGTH = 300
_PAGE = 1000


_RETRIES_VARIABLE = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"  # of its client, which tells nobody that it waits
_FEW_RETRIES = "2"
_TOO_MANY_REQUESTS, _SERVER_ERROR = 429, 500


class UnreachableError(TrackingError):
    """The server cannot be reached, or fails; that may pass."""


def waiting_for_server(call: Callable[P, R]) -> Callable[P, R]:
    """Call a function again while the server is away, for as long as this process has patience; it must bear that."""

    @functools.wraps(call)
    def patiently(*args: P.args, **kwargs: P.kwargs) -> R:
        seconds = patience_seconds()
        if not seconds:
            return call(*args, **kwargs)
        os.environ.setdefault(_RETRIES_VARIABLE, _FEW_RETRIES)
        backoff = Backoff(patient(seconds))
        while True:
            try:
                return call(*args, **kwargs)
            except UnreachableError as error:
                delay = backoff.failed()
                if delay is None:
                    raise
                LOGGER.info("%s; try %d follows in %.1f s", error, backoff.failures + 1, delay)
                time.sleep(delay)

    return patiently


def without_password(uri: str) -> str:
    """Return a URI without user and password."""
    scheme, mark, rest = uri.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else uri


def table_of_runs(uri: str, experiment_id: str) -> str:
    """Return the address of the table of an experiment's runs, without a password.

    Asked for the experiment alone, MLflow 3.17 opens a view for language models, which is empty. Of a server without
    pages of its own, such as a database on this machine, what to add to the address of ``flprivacy ui``.
    """
    place = without_password(uri).rstrip("/") if uri.startswith(("http://", "https://")) else ""
    return f"{place}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"


@contextmanager
def connected(*, about: str = "") -> Iterator[tuple[MlflowClient, str]]:
    """Yield a client of the environment's server, and its URI; what MLflow raises becomes a TrackingError of one line.

    ``about`` is what the line is about, beside the server.
    """
    uri = os.environ.get(URI_VARIABLE, "")
    if not uri:
        raise TrackingError(f"no MLflow server is given; set {URI_VARIABLE}")
    shown = f"{without_password(uri)}: {about}" if about else without_password(uri)
    try:
        yield MlflowClient(tracking_uri=uri), uri
    except MlflowException as error:
        text = str(error).replace(uri, without_password(uri)).splitlines()[0][:_LINE_LENGTH]
        status = error.get_http_status_code()
        kind = UnreachableError if status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS else TrackingError
        wrong = f"; check the name, what you may do there, and {URI_VARIABLE}" if kind is TrackingError else ""
        raise kind(f"{shown}: MLflow cannot be reached or refuses ({text}){wrong}") from error
    except OSError as error:
        raise UnreachableError(f"{shown}: MLflow cannot be reached ({type(error).__name__})") from error


@contextmanager
def moving_artifacts(owner: str) -> Iterator[None]:
    """Turn whatever the store of a run's or model's artifacts raises into a TrackingError: each has errors of its own.

    The server may be well while the store is not: without credentials, out of reach, or without its SDK. What MLflow
    itself raises is passed on to :func:`connected`.
    """
    try:
        yield
    except (MlflowException, OSError):
        raise
    except Exception as error:
        what = str(error) if isinstance(error, ModuleNotFoundError) else type(error).__name__
        raise TrackingError(
            f"{owner}: its artifacts cannot be moved to or from their store ({what}); give this process a way to the "
            "store and its credentials"
        ) from error


def is_on_this_machine(uri: str) -> bool:
    """Say whether a tracking URI is a file or folder, or empty, rather than a server."""
    return uri.partition(":")[0] in ("sqlite", "file") or ":" not in uri


def all_experiments(client: MlflowClient) -> list[str]:
    """Return the ids of all experiments that are not deleted."""
    found = every(lambda token: client.search_experiments(max_results=_PAGE, page_token=token))
    return [str(experiment.experiment_id) for experiment in found]


def every(page_at: Callable[[str | None], Any]) -> list[Any]:
    """Return all items of a listing that MLflow answers page by page."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = page_at(token)
        found += page
        token = page.token
        if not token:
            return found
