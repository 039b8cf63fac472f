"""Where something is filed: the experiment, and the run of the backend's own plugin above ours, if there is one."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from flprivacy.tracking.server import without_password

LOGGER = logging.getLogger(__name__)

PLUGIN_RUN_VARIABLE = "MLFLOW_RUN_ID"
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such run, or no id of one


@dataclass(frozen=True, kw_only=True)
class Filing:
    """What is known of the pipeline run that something is filed for.

    Attributes:
        kfp_run: id of the pipeline run; empty where there is none.
        plugin_run: id of the run that the backend's own MLflow plugin made for the step; empty where that is off.
    """

    kfp_run: str = ""
    plugin_run: str = ""


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """Where something was filed. ``found`` is true if an earlier call had done so already."""

    run_id: str
    name: str
    experiment: str
    experiment_id: str
    tracking_uri: str
    found: bool


@dataclass(frozen=True, kw_only=True)
class Place:
    """An experiment, and the run to nest under."""

    experiment_id: str
    parent: str | None = None


def filing_from_environment(kfp_run: str = "") -> Filing:
    """Return what the environment says of the plugin's run."""
    return Filing(kfp_run=kfp_run, plugin_run=os.environ.get(PLUGIN_RUN_VARIABLE, ""))


def find_place(client: MlflowClient, cohort_name: str, uri: str, filing: Filing) -> Place:
    """Return the plugin's experiment and run if there is one, else the cohort's experiment, made if need be.

    A run under another's must be in its experiment, or MLflow's interface shows them apart.

    Raises:
        MlflowException: the server refuses or cannot be reached.
    """
    if filing.plugin_run:
        try:
            run = client.get_run(filing.plugin_run)
        except MlflowException as error:
            if error.error_code not in _MISSING:
                raise
            LOGGER.warning(
                "%s is %s, which %s does not have; filed on its own",
                PLUGIN_RUN_VARIABLE,
                filing.plugin_run,
                without_password(uri),
            )
        else:
            if run.info.lifecycle_stage == "active":
                return Place(experiment_id=str(run.info.experiment_id), parent=filing.plugin_run)
    return Place(experiment_id=_experiment(client, cohort_name, uri))


def _experiment(client: MlflowClient, name: str, uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=_artifact_location(uri, name)))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = client.get_experiment_by_name(name)  # another process made it meanwhile
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _artifact_location(uri: str, name: str) -> str | None:
    """Return a folder beside a local database; a server knows its own place (None)."""
    path = uri.removeprefix("sqlite:///")
    return (Path(path).absolute().parent / "mlartifacts" / name).as_uri() if path != uri else None
