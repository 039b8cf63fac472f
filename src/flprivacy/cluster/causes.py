"""Why steps of a run failed or do not begin: Kubernetes knows, Kubeflow Pipelines' API does not say.

Pods and the Workflow are read by ``kubectl``, with the access that its user has. Of a pod that failed, its termination
message counts first: a step of flprivacy writes its last error there.
"""

import base64
import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from flprivacy.cluster.kubectl import Kubectl, UnreadError
from flprivacy.execution.isolation import TARGET_PARAMETER
from flprivacy.execution.parts import PART_PARAMETER

_SLOW_SECONDS = 60  # a pod that has not begun by then is worth a word
_FAILED = ("Failed", "Error")
_ATTEMPT = re.compile(r"\(\d+\)$")
_CAUSES = {
    "OOMKilled": "out of memory: the container was killed at its memory limit; give the step more memory",
    "DeadlineExceeded": "took longer than its time limit",
    "Evicted": "the node evicted the pod",
}
_WAITING = (
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
)


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why a step failed, or why one of its pods does not begin."""

    step: str  # of the pipeline
    text: str  # what is wrong, in one line
    target: str = ""  # that the step works on, if it is one of several
    log: str = ""  # the command that shows the step's log; empty if no container ran

    def __str__(self) -> str:
        return f"{self.step}{f' ({self.target})' if self.target else ''}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Causes:
    """What Kubernetes says of a run."""

    failed: tuple[Cause, ...] = ()  # steps that ended in failure, after all attempts
    waiting: tuple[Cause, ...] = ()  # pods that have not begun for a minute
    unread: str = ""  # why Kubernetes could not be asked; empty if it was


def read_causes(run_id: str, namespace: str = "") -> Causes:
    """Return what Kubernetes says of a run's steps; where kubectl cannot be used, ``unread`` says why.

    ``namespace`` is that of the run's pods; empty: all that kubectl's user may read.
    """
    try:
        found = Kubectl().every("workflows.argoproj.io,pods", "-l", f"pipeline/runid={run_id}", namespace=namespace)
    except UnreadError as error:
        return Causes(unread=str(error))
    return find_causes(found, datetime.now(UTC))


def find_causes(items: Sequence[Mapping[str, Any]], now: datetime) -> Causes:
    """Return the causes that a run's Workflow and pods, as the Kubernetes API describes them, tell of.

    A step counts as failed by its last attempt. Several pods of one step and target give one line.
    """
    workflow = next((item for item in items if item["kind"] == "Workflow"), {})
    status = workflow.get("status", {})
    nodes = list(_last_attempts(_nodes(status)))
    pods = {_annotation(pod, "node-id"): pod for pod in items if pod["kind"] == "Pod"}
    failed = [_of_node(node, pods.get(node["id"])) for node in nodes if node.get("phase") in _FAILED]
    known = {node["id"] for node in nodes}
    orphans = (pod for key, pod in pods.items() if key not in known and _pod_phase(pod) == "Failed" and not nodes)
    failed += [_of_pod(pod) for pod in orphans]
    if not failed and status.get("phase") in _FAILED and status.get("message"):
        failed = [Cause(step="run", text=_line(status["message"]))]
    waiting = [cause for pod in pods.values() if (cause := _waiting(pod, now)) is not None]
    return Causes(failed=tuple(dict.fromkeys(failed)), waiting=tuple(dict.fromkeys(waiting)))


def _nodes(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the Workflow's nodes, which Argo compresses when they grow large."""
    packed = status.get("compressedNodes")
    return json.loads(gzip.decompress(base64.b64decode(packed))) if packed else status.get("nodes") or {}


def _last_attempts(nodes: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield each node that has a pod, or should have had one; of several attempts only the last."""
    attempts = {child for node in nodes.values() if node["type"] == "Retry" for child in node.get("children", ())}
    for node in nodes.values():
        children = [nodes[child] for child in node.get("children", ()) if child in nodes]
        pods = [child for child in children if child["type"] == "Pod"]
        if node["type"] == "Retry" and pods:
            last = max(pods, key=lambda child: str(child.get("startedAt", "")))
            yield {**last, "phase": node.get("phase", last.get("phase"))}
        elif node["type"] == "Pod" and node["id"] not in attempts:
            yield node


def _of_node(node: Mapping[str, Any], pod: Mapping[str, Any] | None) -> Cause:
    step = _step(str(node["name"]))
    if pod is not None and (text := _ended(pod)):
        return Cause(step=step, text=text, target=_target(pod), log=_log(pod))
    message = _line(node.get("message", "")) or "failed, and its pod is gone"
    reason = next((text for reason, text in _CAUSES.items() if reason in message), message)
    if pod is None:
        return Cause(step=step, text=reason)
    return Cause(step=step, text=reason, target=_target(pod), log=_log(pod) if any(_terminated(pod)) else "")


def _of_pod(pod: Mapping[str, Any]) -> Cause:
    text = _ended(pod) or "failed"
    return Cause(step=_step(_annotation(pod, "node-name")), text=text, target=_target(pod), log=_log(pod))


def _ended(pod: Mapping[str, Any]) -> str:
    """Return why a pod ended: its step's own words, else what killed it."""
    ended: Mapping[str, Any] = next((state for state in _terminated(pod) if state.get("exitCode")), {})
    if ended.get("reason") in _CAUSES:
        return _CAUSES[ended["reason"]]
    message = _line(ended.get("message", "")) or _line(pod["status"].get("message", ""))
    cause = _CAUSES.get(pod["status"].get("reason", ""), "")
    return ": ".join(part for part in (cause, message) if part)


def _terminated(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return how each container of a pod ended that has ended."""
    states = (one.get("state", {}).get("terminated") for one in pod["status"].get("containerStatuses", ()))
    return [state for state in states if state]


def _waiting(pod: Mapping[str, Any], now: datetime) -> Cause | None:
    """Return why a pod has not begun, if it should have."""
    created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    if _pod_phase(pod) != "Pending" or (now - created).total_seconds() < _SLOW_SECONDS:
        return None
    statuses = chain(pod["status"].get("initContainerStatuses", ()), pod["status"].get("containerStatuses", ()))
    states = [one.get("state", {}).get("waiting", {}) for one in statuses]
    stuck = next((state for state in states if state.get("reason") in _WAITING), None)
    conditions = {one["type"]: one for one in pod["status"].get("conditions", ())}
    scheduled = conditions.get("PodScheduled", {})
    if stuck is not None:
        text = f"{stuck['reason']}: {_line(stuck.get('message', ''))}"
    elif scheduled.get("status") == "False":
        text = f"{scheduled.get('reason', 'not scheduled')}: {_line(scheduled.get('message', ''))}"
    else:
        return None
    return Cause(step=_step(_annotation(pod, "node-name")), text=f"waits, {text}", target=_target(pod))


def _step(node_name: str) -> str:
    """Return the step in a node's name, such as ``run.root.for-loop-2.train-target.executor(0)``."""
    parts = [part for part in _ATTEMPT.sub("", node_name).split(".") if part != "executor"]
    return _ATTEMPT.sub("", parts[-1]).removesuffix("-driver")


def _target(pod: Mapping[str, Any]) -> str:
    """Return the target or targets that a pod works on, from the executor input that its launcher is given."""
    for container in pod["spec"]["containers"]:
        words = [*container.get("command", ()), *container.get("args", ())]
        if "--executor_input" in words[:-1]:
            task = json.loads(words[words.index("--executor_input") + 1])
            given = task.get("inputs", {}).get("parameterValues", {})
            return str(given.get(TARGET_PARAMETER) or given.get(PART_PARAMETER, ""))
    return ""


def _log(pod: Mapping[str, Any]) -> str:
    where = pod["metadata"]
    return f"kubectl -n {where['namespace']} logs {where['name']} -c main"


def _annotation(pod: Mapping[str, Any], name: str) -> str:
    return str(pod["metadata"].get("annotations", {}).get(f"workflows.argoproj.io/{name}", ""))


def _pod_phase(pod: Mapping[str, Any]) -> str:
    return str(pod["status"].get("phase", ""))


def _line(text: Any) -> str:
    return " ".join(str(text).split())
