"""The connection to the MLflow server, and errors that name it without its password."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from flprivacy.core.errors import TrackingError

URI_VARIABLE = "MLFLOW_TRACKING_URI"
_LINE_LENGTH = 300
_PAGE = 1000


def without_password(uri: str) -> str:
    """Return a URI without user and password."""
    scheme, mark, rest = uri.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else uri


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
        raise TrackingError(f"{shown}: MLflow cannot be reached or refuses ({text})") from error
    except OSError as error:
        raise TrackingError(f"{shown}: MLflow cannot be reached ({type(error).__name__})") from error


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
