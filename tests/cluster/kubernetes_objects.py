"""A run's Workflow and pods in the shapes that Argo and Kubernetes give them."""

import base64
import gzip
import json
from typing import Any

CREATED = "2026-01-02T03:04:05Z"


def node(step: str, phase: str, *, kind: str = "Pod", message: str = "", **more: Any) -> dict[str, Any]:
    """Return a node of the Workflow; its name is a path through the graph."""
    found = {"id": f"id-{step}", "name": f"run.root.{step}", "type": kind, "phase": phase, "message": message}
    return found | more


def workflow(*nodes: dict[str, Any], packed: bool = False, **status: Any) -> dict[str, Any]:
    """Return the Workflow of a run, its nodes compressed as Argo compresses many."""
    by_id = {one["id"]: one for one in nodes}
    if packed:
        status["compressedNodes"] = base64.b64encode(gzip.compress(json.dumps(by_id).encode())).decode()
    else:
        status["nodes"] = by_id
    return {"kind": "Workflow", "metadata": {"name": "run"}, "status": status}


def pod(step: str, phase: str, *, target: str = "", node_id: str = "", **status: Any) -> dict[str, Any]:
    """Return a pod of a step."""
    task = {"inputs": {"parameterValues": {"target_name": target} if target else {}}}
    command = ["argoexec", "emissary", "--", "/kfp-launcher/launch", "--executor_input", json.dumps(task), "--", "sh"]
    notes = {"node-name": f"run.root.{step}", "node-id": node_id or f"id-{step}"}
    where = {"name": f"pod-{step.partition('.')[0]}", "namespace": "kubeflow", "creationTimestamp": CREATED}
    where |= {"annotations": {f"workflows.argoproj.io/{key}": value for key, value in notes.items()}}
    return {
        "kind": "Pod",
        "metadata": where,
        "spec": {"containers": [{"name": "main", "command": command}]},
        "status": {"phase": phase} | status,
    }


def terminated(reason: str, code: int, message: str = "") -> dict[str, Any]:
    """Return the statuses of a pod's containers after ``main`` ended."""
    ended = {"reason": reason, "exitCode": code, "message": message}
    return {"containerStatuses": [{"name": "main", "state": {"terminated": ended}}]}


def held(reason: str, message: str) -> dict[str, Any]:
    """Return the statuses of a pod's containers while ``main`` cannot begin."""
    return {"containerStatuses": [{"name": "main", "state": {"waiting": {"reason": reason, "message": message}}}]}


def unscheduled(message: str) -> dict[str, Any]:
    """Return the conditions of a pod that no node takes."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"conditions": [condition]}
