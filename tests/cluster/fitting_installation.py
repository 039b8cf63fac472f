"""An installation that fits, as the Kubernetes API describes it: the built overlay, and what Kubeflow brings."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from flprivacy.cluster.kubectl import UnreadError

_BUILT = Path(__file__).parents[1] / "k8s" / "built" / "standalone.yaml"
_ALIASES = {"networkpolicies": "networkpolicy", "resourcequotas": "resourcequota", "limitranges": "limitrange"}
_SECRETS = {
    "flprivacy-object-store": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "flprivacy-mlflow": {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"},
}
RIGHTS = {
    "create workflowtaskresults.argoproj.io",
    "get configmaps/kfp-launcher",
    "get secrets/mlpipeline-minio-artifact",
}


def deployment(name: str, image: str, **environment: str) -> dict[str, Any]:
    """Return one of Kubeflow's deployments."""
    variables = [{"name": key, "value": value} for key, value in environment.items()]
    spec = {"template": {"spec": {"containers": [{"name": name, "image": image, "env": variables}]}}}
    return {"kind": "Deployment", "metadata": {"name": name, "namespace": "kubeflow"}, "spec": spec}


def config(name: str, **data: str) -> dict[str, Any]:
    """Return a ConfigMap in Kubeflow's namespace."""
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "kubeflow"}, "data": data}


def node(name: str, *, gpus: str = "", pool: str = "", taint: str = "", memory: str = "30Gi") -> dict[str, Any]:
    """Return a node that is ready."""
    labels = {"flprivacy.io/pool": pool} if pool else {}
    taints = [{"key": taint, "value": "present", "effect": "NoSchedule"}] if taint else []
    has = {"cpu": "8", "memory": memory} | ({"nvidia.com/gpu": gpus} if gpus else {})
    status = {"allocatable": has, "conditions": [{"type": "Ready", "status": "True"}]}
    status["nodeInfo"] = {"kubeletVersion": "v1.34.2"}
    return {"kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}, "status": status}


class FittingCluster:
    """Answers as ``kubectl`` does, from objects that a test may change."""

    def __init__(self) -> None:
        built = yaml.load_all(_BUILT.read_text(), Loader=yaml.CSafeLoader)
        brought = [
            deployment("ml-pipeline", "ghcr.io/kubeflow/kfp-api-server:2.17.0"),
            deployment("ml-pipeline-persistenceagent", "agent:2.17.0", TTL_SECONDS_AFTER_WORKFLOW_FINISH="2592000"),
            config("kfp-launcher", defaultPipelineRoot=""),
            config("kfp-api-server-config", **{"config.json": "{}"}),
            config("pipeline-install-config", cronScheduleTimezone="UTC"),
            config("workflow-controller-configmap", workflowDefaults="retryStrategy:\n  retryPolicy: OnError"),
            node("small"),
            node("cards", gpus="1", pool="gpu", taint="nvidia.com/gpu"),
        ]
        self.objects: list[dict[str, Any]] = [copy.deepcopy(one) for one in [*built, *brought] if one]
        self.secrets: dict[str, set[str]] = copy.deepcopy(_SECRETS)
        self.rights: set[str] = set(RIGHTS)
        self.pod: dict[str, Any] = {"status": {"phase": "Succeeded"}}
        self.log = ""
        self.unread = ""  # kind that this user may not read
        self.calls: list[tuple[str, ...]] = []

    def the(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object, to be changed."""
        return next(one for one in self.objects if (one["kind"], one["metadata"]["name"]) == (kind, name))

    def drop(self, kind: str, name: str) -> None:
        """Remove an object."""
        self.objects.remove(self.the(kind, name))

    def run(self, *words: str, stdin: str = "") -> str:
        self.calls.append((*words, stdin))
        return self.log if words[0] == "logs" else ""

    def find(self, kind: str, name: str, namespace: str = "") -> Mapping[str, Any] | None:
        if kind == "pod":
            return self.pod
        found = [one for one in self.every(kind, namespace=namespace) if one["metadata"]["name"] == name]
        return found[0] if found else None

    def every(self, kind: str, *words: str, namespace: str = "") -> list[Mapping[str, Any]]:
        singular = _ALIASES.get(kind, kind.removesuffix("s"))
        if singular == self.unread:
            raise UnreadError(f"kubectl: {kind} is forbidden")
        found = [one for one in self.objects if one["kind"].lower() == singular]
        return [one for one in found if not namespace or one["metadata"].get("namespace") == namespace]

    def keys(self, name: str, namespace: str) -> frozenset[str] | None:
        return frozenset(self.secrets[name]) if name in self.secrets else None

    def may(self, verb: str, resource: str, *, account: str, namespace: str) -> bool:
        return f"{verb} {resource}" in self.rights
