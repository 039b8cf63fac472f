"""What the driver of KFP 2.17 makes of a step's Kubernetes settings: parts of the patch of its pod."""

from collections.abc import Mapping
from typing import Any

from tests.services.compiled_pipelines import Task


def of_container(task: Task) -> dict[str, Any]:
    """Return what the patch says of the step's container beside its command."""
    platform, given = task.platform, task.given.parameters
    variables = [{"name": one["name"], "value": one["value"]} for one in task.container.get("env", ())]
    for source, reference, key in (
        ("secret", "secretKeyRef", "secretKey"),
        ("configMap", "configMapKeyRef", "configMapKey"),
    ):
        for one in platform.get(f"{source}AsEnv", ()):
            for pair in one["keyToEnv"]:
                told = {"name": one[f"{source}Name"], "key": pair[key], "optional": one.get("optional", False)}
                variables.append({"name": pair["envVar"], "valueFrom": {reference: told}})
    asked = task.container.get("resources", {})
    values = {key: _resolved(asked[key], given) for key in asked if key.startswith("resource")}
    limits = {"cpu": values.get("resourceCpuLimit"), "memory": values.get("resourceMemoryLimit")}
    if "accelerator" in asked:
        limits[asked["accelerator"]["resourceType"]] = _resolved(asked["accelerator"]["resourceCount"], given)
    requests = {"cpu": values.get("resourceCpuRequest"), "memory": values.get("resourceMemoryRequest")}
    found = {
        "env": variables,
        "resources": {
            side: {key: value for key, value in one.items() if value is not None}
            for side, one in (("limits", limits), ("requests", requests))
        },
        "volumeMounts": [{"name": v["name"], "mountPath": path} for v, path in _mounted(platform)],
    }
    identity = {key: _number(value) for key, value in platform.get("securityContext", {}).items()}
    hardened = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    hardened |= {"seccompProfile": {"type": "RuntimeDefault"}}
    return {key: value for key, value in found.items() if value} | {"securityContext": identity | hardened}


def volumes(task: Task) -> list[dict[str, Any]]:
    """Return the volumes of the pod."""
    return [volume for volume, _ in _mounted(task.platform)]


def of_pod(task: Task, run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the patch says of the pod beside its containers and volumes, by the parameters of the run."""
    platform = task.platform
    found: dict[str, Any] = {}
    if "activeDeadlineSeconds" in platform:
        found["activeDeadlineSeconds"] = int(platform["activeDeadlineSeconds"])
    if "nodeSelector" in platform:
        found["nodeSelector"] = _of_run(platform["nodeSelector"]["nodeSelectorJson"], run)
    tolerations = [_of_run(one["tolerationJson"], run) for one in platform.get("tolerations", ())]
    found |= {"tolerations": [one for some in tolerations for one in some]} if tolerations else {}
    terms = [{"matchExpressions": one["matchExpressions"]} for one in platform.get("nodeAffinity", ())]
    if terms:
        needed = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        found["affinity"] = {"nodeAffinity": needed}
    return found


def _mounted(platform: Mapping[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Return every volume that a step asks for, and where it is mounted."""
    found: list[tuple[dict[str, Any], str]] = []
    for one in platform.get("pvcMount", ()):
        claim = {"persistentVolumeClaim": {"claimName": one["constant"]}}
        found.append(({"name": one["constant"]} | claim, one["mountPath"]))
    for one in platform.get("secretAsVolume", ()):
        secret = {"secret": {"secretName": one["secretName"], "optional": one.get("optional", False)}}
        found.append(({"name": one["secretName"]} | secret, one["mountPath"]))
    for one in platform.get("configMapAsVolume", ()):
        settings = {"configMap": {"name": one["configMapName"], "optional": one.get("optional", False)}}
        found.append(({"name": one["configMapName"]} | settings, one["mountPath"]))
    for one in platform.get("emptyDirMounts", ()):
        empty = {"medium": one["medium"]} if "medium" in one else {}
        found.append(
            ({"name": one["volumeName"], "emptyDir": empty | {"sizeLimit": one["sizeLimit"]}}, one["mountPath"])
        )
    return found


def _of_run(source: Mapping[str, Any], run: Mapping[str, Any]) -> Any:
    return run[source["componentInputParameter"].removeprefix("pipelinechannel--")]


def _resolved(text: str, given: Mapping[str, Any]) -> str:
    name = text.partition("parameters['")[2].partition("']")[0]
    return str(given[name]) if name else text


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) else value
