"""From a command's options to what is asked of the cluster."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flprivacy.cluster.compiled import CompiledPipeline
from flprivacy.cluster.connection import Cluster
from flprivacy.cluster.parameters import Request
from flprivacy.cluster.runs import Start
from flprivacy.cluster.uploads import Version, ensure_experiment


def request_of(words: Mapping[str, Any]) -> Request:
    """Return what a person asked to run.

    Args:
        words: the options of :func:`flprivacy.commands.cluster_options.what`, by name.
    """
    names = (
        "preset",
        "changes",
        "cohort",
        "targets",
        "targets_from",
        "store",
        "fail_on_leak",
        "fail_on_worse",
        "values",
    )
    return Request(**{name: words[name] for name in names})


def start_of(
    cluster: Cluster,
    pipeline: CompiledPipeline,
    version: Version,
    parameters: Mapping[str, Any],
    name: str,
    words: Mapping[str, Any],
) -> Start:
    """Return what to start, its experiment made if it is absent.

    Args:
        cluster: where to run.
        pipeline: what to run.
        version: the server's copy of it.
        parameters: typed values.
        name: of the run or schedule.
        words: the command's options by name.

    Raises:
        ClusterError: the server refuses.
    """
    experiment = words["mlflow_experiment"]
    return Start(
        pipeline_id=version.pipeline_id,
        version_id=version.version_id,
        experiment_id=ensure_experiment(cluster, words["experiment"] or pipeline.title),
        name=name,
        parameters=parameters,
        service_account=words["service_account"],
        plugins_input={"mlflow": {"experiment_name": experiment}} if experiment else None,
    )


def run_title(pipeline: str) -> str:
    """Return the name of a run that was given none."""
    return f"{pipeline} {datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"
