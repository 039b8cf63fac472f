"""Make sure that the server has exactly this pipeline as a version, and an experiment to run it in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kfp_server_api import V2beta1Experiment, V2beta1Pipeline

from flprivacy.cluster.api import AbsentError, Cluster, ClusterError, TakenError, named
from flprivacy.cluster.runs import Start
from flprivacy.launch.compiled import CompiledPipeline, read_compiled, step_names


@dataclass(frozen=True)
class Version:
    """A version of a pipeline on the server."""

    pipeline_id: str  # of the pipeline
    version_id: str  # of the version
    name: str  # ``<flprivacy's version>-<digest of the content>``
    uploaded: bool  # whether this call uploaded it


def ensure_version(cluster: Cluster, pipeline: CompiledPipeline) -> Version:
    """Return the version with this content; upload it, and create the pipeline, if they are absent.

    Two calls at the same time end with the same version: the name holds the digest, and the server takes a name once.
    """
    pipeline_id = _ensure_pipeline(cluster, pipeline)

    def find() -> Any:
        listing = cluster.client.pipelines.pipeline_service_list_pipeline_versions
        return _find(cluster, "versions", listing, "pipeline_versions", pipeline.version, pipeline_id)

    version, uploaded = _ensure(
        cluster,
        f"upload version {pipeline.version} of {pipeline.title}",
        find,
        cluster.client.pipeline_uploads.upload_pipeline_version,
        str(pipeline.file),
        name=pipeline.version,
        pipelineid=pipeline_id,
        description=f"flprivacy {pipeline.name}, sha256 {pipeline.digest}",
    )
    if version is None or not version.pipeline_version_id:
        raise ClusterError(
            f"{cluster.call.host}: has no version {pipeline.version} of {pipeline.title} after its upload; "
            "check the API server's log"
        )
    return Version(pipeline_id, version.pipeline_version_id, pipeline.version, uploaded)


def ensure_experiment(cluster: Cluster, name: str) -> str:
    """Return the id of the experiment of that name; create it if it is absent."""
    api = cluster.client.experiments

    def find() -> Any:
        listing = api.experiment_service_list_experiments
        return _find(cluster, "experiments", listing, "experiments", name, **cluster.of_namespace())

    body = V2beta1Experiment(display_name=name, namespace=cluster.namespace or None)
    create = api.experiment_service_create_experiment
    found, _ = _ensure(cluster, f"create experiment {name!r}", find, create, body)
    if found is None or not found.experiment_id:
        raise ClusterError(f"{cluster.call.host}: keeps no experiment {name!r}; give another --experiment")
    return str(found.experiment_id)


def start_of(
    cluster: Cluster,
    pipeline: CompiledPipeline,
    version: Version,
    parameters: Mapping[str, Any],
    *,
    name: str,
    experiment: str,
    mlflow_experiment: str,
    service_account: str,
) -> Start:
    """Return what to start, its experiment created if it is absent.

    An empty experiment is the pipeline's title; an empty ``mlflow_experiment`` is the choice of the backend's plugin.
    """
    return Start(
        pipeline_id=version.pipeline_id,
        version_id=version.version_id,
        experiment_id=ensure_experiment(cluster, experiment or pipeline.title),
        name=name,
        parameters=parameters,
        service_account=service_account,
        plugins_input={"mlflow": {"experiment_name": mlflow_experiment}} if mlflow_experiment else None,
    )


def our_pipelines(cluster: Cluster, names: Sequence[str]) -> dict[str, str]:
    """Return the titles of those of our pipelines that are on the server, by their ids."""
    listing = cluster.client.pipelines.pipeline_service_list_pipelines
    titles = {read_compiled(name).title for name in names}
    listed = cluster.call.pages("list pipelines", listing, "pipelines", **cluster.of_namespace())
    return {str(item.pipeline_id): item.display_name for item in listed if item.display_name in titles}


def version_name(cluster: Cluster, pipeline_id: str, version_id: str) -> str:
    """Return the name of a version; its id if it was deleted."""
    try:
        return str(_version(cluster, pipeline_id, version_id).display_name)
    except AbsentError:
        return f"{version_id} (deleted)"


def version_steps(cluster: Cluster, pipeline_id: str, version_id: str) -> tuple[str, ...]:
    """Return the names of the steps of a version that is on the server; AbsentError if it was deleted."""
    spec = _version(cluster, pipeline_id, version_id).pipeline_spec or {}
    return step_names(spec.get("pipeline_spec", spec))


def _version(cluster: Cluster, pipeline_id: str, version_id: str) -> Any:
    get = cluster.client.pipelines.pipeline_service_get_pipeline_version
    return cluster.call("look up the version", get, pipeline_id, version_id)


def _ensure_pipeline(cluster: Cluster, pipeline: CompiledPipeline) -> str:
    title, api = pipeline.title, cluster.client.pipelines

    def find() -> Any:
        listing = api.pipeline_service_list_pipelines
        return _find(cluster, "pipelines", listing, "pipelines", title, **cluster.of_namespace())

    body = V2beta1Pipeline(
        name=title, display_name=title, description=pipeline.description, namespace=cluster.namespace or None
    )
    found, _ = _ensure(cluster, f"create pipeline {title}", find, api.pipeline_service_create_pipeline, body)
    if found is None or not found.pipeline_id:
        raise ClusterError(f"{cluster.call.host}: has a pipeline {title} that you may not see; ask its owner")
    return str(found.pipeline_id)


def _ensure(
    cluster: Cluster, what: str, find: Callable[[], Any], create: Callable[..., Any], *args: Any, **kwargs: Any
) -> tuple[Any, bool]:
    """Return what ``find`` finds, created if need be, and whether this call created it."""
    found = find()
    if found is not None:
        return found, False
    try:
        return cluster.call(what, create, *args, found=find, **kwargs), True
    except TakenError:  # another caller created it since we looked
        return find(), False


def _find(cluster: Cluster, what: str, listing: Callable[..., Any], field: str, name: str, *ids: str, **kw: str) -> Any:
    """Return the first listed item with that very display name, whatever else the server's filter let through."""
    items = cluster.call.pages(f"list {what}", listing, field, *ids, filter=named(name), **kw)
    return next((item for item in items if item.display_name == name), None)
