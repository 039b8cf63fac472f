"""Make sure that the server has a pipeline's very content as a version, and an experiment to run it in."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kfp_server_api import V2beta1Experiment, V2beta1Pipeline

from flprivacy.cluster.compiled import CompiledPipeline, step_names
from flprivacy.cluster.connection import Cluster
from flprivacy.cluster.requests import AbsentError, ClusterError, TakenError, named


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version of a pipeline on the server.

    Attributes:
        pipeline_id: of the pipeline.
        version_id: of the version.
        name: ``<flprivacy's version>-<digest of the content>``.
        uploaded: this call uploaded it.
    """

    pipeline_id: str
    version_id: str
    name: str
    uploaded: bool


def ensure_version(cluster: Cluster, pipeline: CompiledPipeline) -> Version:
    """Return the version with this content; upload it, and make the pipeline, if they are absent.

    Two calls at the same time end with the same version: the name holds the digest, and the server takes a name once.

    Raises:
        ClusterError: the server refuses.
    """
    pipeline_id = _ensure_pipeline(cluster, pipeline)
    version = _find_version(cluster, pipeline, pipeline_id)
    uploaded = version is None
    if version is None:
        try:
            version = cluster.call(
                f"upload version {pipeline.version} of {pipeline.title}",
                cluster.client.pipeline_uploads.upload_pipeline_version,
                str(pipeline.file),
                found=lambda: _find_version(cluster, pipeline, pipeline_id),
                name=pipeline.version,
                pipelineid=pipeline_id,
                description=f"flprivacy {pipeline.name}, sha256 {pipeline.digest}",
            )
        except TakenError:
            version, uploaded = _find_version(cluster, pipeline, pipeline_id), False
    if version is None or not version.pipeline_version_id:
        raise ClusterError(
            f"{cluster.call.host}: has no version {pipeline.version} of {pipeline.title} after its upload; "
            "look into the API server's log"
        )
    return Version(
        pipeline_id=pipeline_id, version_id=version.pipeline_version_id, name=pipeline.version, uploaded=uploaded
    )


def ensure_experiment(cluster: Cluster, name: str) -> str:
    """Return the id of the experiment of that name; make it if it is absent.

    Raises:
        ClusterError: the server refuses.
    """

    def find() -> Any:
        listing = cluster.client.experiments.experiment_service_list_experiments
        words = {"filter": named(name)} | _namespace(cluster)
        return _only(cluster.call.pages("list experiments", listing, "experiments", **words), "display_name", name)

    body = V2beta1Experiment(display_name=name, namespace=cluster.namespace or None)
    create = cluster.client.experiments.experiment_service_create_experiment
    found = find()
    if found is None:
        try:
            found = cluster.call(f"make experiment {name!r}", create, body, found=find)
        except TakenError:
            found = find()
    if found is None or not found.experiment_id:
        raise ClusterError(f"{cluster.call.host}: keeps no experiment {name!r}; give another --experiment")
    return str(found.experiment_id)


def version_name(cluster: Cluster, pipeline_id: str, version_id: str) -> str:
    """Return the name of a version; its id if it was deleted.

    Raises:
        ClusterError: the server refuses.
    """
    try:
        return str(_version(cluster, pipeline_id, version_id).display_name)
    except AbsentError:
        return f"{version_id} (deleted)"


def version_steps(cluster: Cluster, pipeline_id: str, version_id: str) -> tuple[str, ...]:
    """Return the names of the steps of a version that is on the server.

    Raises:
        AbsentError: the version was deleted.
        ClusterError: the server refuses.
    """
    spec = _version(cluster, pipeline_id, version_id).pipeline_spec or {}
    return step_names(spec.get("pipeline_spec", spec))


def _version(cluster: Cluster, pipeline_id: str, version_id: str) -> Any:
    get = cluster.client.pipelines.pipeline_service_get_pipeline_version
    return cluster.call("look at the version", get, pipeline_id, version_id)


def _ensure_pipeline(cluster: Cluster, pipeline: CompiledPipeline) -> str:
    def find() -> Any:
        listing = cluster.client.pipelines.pipeline_service_list_pipelines
        words = {"filter": named(pipeline.title)} | _namespace(cluster)
        return _only(
            cluster.call.pages("list pipelines", listing, "pipelines", **words), "display_name", pipeline.title
        )

    body = V2beta1Pipeline(
        name=pipeline.title,
        display_name=pipeline.title,
        description=pipeline.description,
        namespace=cluster.namespace or None,
    )
    create = cluster.client.pipelines.pipeline_service_create_pipeline
    found = find()
    if found is None:
        try:
            found = cluster.call(f"make pipeline {pipeline.title}", create, body, found=find)
        except TakenError:
            found = find()
    if found is None or not found.pipeline_id:
        raise ClusterError(
            f"{cluster.call.host}: has a pipeline {pipeline.title} that this user may not see; ask its owner"
        )
    return str(found.pipeline_id)


def _find_version(cluster: Cluster, pipeline: CompiledPipeline, pipeline_id: str) -> Any:
    listing = cluster.client.pipelines.pipeline_service_list_pipeline_versions
    words = {"filter": named(pipeline.version)}
    found = cluster.call.pages("list versions", listing, "pipeline_versions", pipeline_id, **words)
    return _only(found, "display_name", pipeline.version)


def _only(items: Iterator[Any], field: str, value: str) -> Any:
    """Return the first item with that very value, whatever else the server's filter let through."""
    return next((item for item in items if getattr(item, field) == value), None)


def _namespace(cluster: Cluster) -> dict[str, str]:
    return {"namespace": cluster.namespace} if cluster.namespace else {}
