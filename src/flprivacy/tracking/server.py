"""The MLflow server: which one, how long to wait for it, and errors that name it without its password."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from flprivacy.core.errors import TrackingError

URI_VARIABLE = "MLFLOW_TRACKING_URI"
_LINE_LENGTH = 300


def server_uri(tracking_uri: str | None = None) -> str:
    """Return the server's URI: the given one, or the environment's.

    Raises:
        TrackingError: none is named.
    """
    uri = tracking_uri or os.environ.get(URI_VARIABLE, "")
    if not uri:
        raise TrackingError(f"no MLflow server is named; set {URI_VARIABLE}")
    return uri


def without_password(uri: str) -> str:
    """Return a URI without user and password."""
    scheme, mark, rest = uri.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else uri


@contextmanager
def refusals(uri: str, about: str = "") -> Iterator[None]:
    """Turn what MLflow raises into errors of one line.

    Raises:
        TrackingError: the server cannot be reached, or refuses.
    """
    shown = f"{without_password(uri)}: {about}" if about else without_password(uri)
    try:
        yield
    except MlflowException as error:
        text = str(error).replace(uri, without_password(uri)).splitlines()[0][:_LINE_LENGTH]
        raise TrackingError(f"{shown}: MLflow cannot be reached or refuses ({text})") from error
    except OSError as error:
        raise TrackingError(f"{shown}: MLflow cannot be reached ({type(error).__name__})") from error


def all_experiments(client: MlflowClient) -> list[str]:
    """Return the ids of all experiments that are not deleted."""
    found: list[str] = []
    token: str | None = None
    while True:
        page = client.search_experiments(max_results=1000, page_token=token)
        found += [str(experiment.experiment_id) for experiment in page]
        token = page.token
        if not token:
            return found
