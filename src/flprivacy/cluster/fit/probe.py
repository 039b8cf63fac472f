"""A look from within: one pod like those of the steps, which asks the store and MLflow as they will."""

import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from flprivacy.cluster.fit.looked_at import FITS, MEND, UNREAD, Asked, Kubernetes, Line
from flprivacy.cluster.kubectl import UnreadError
from flprivacy.core.errors import FlprivacyError
from flprivacy.storage.objects import open_objects
from flprivacy.storage.places import STORE_VARIABLE
from flprivacy.storage.uris import is_remote, join
from flprivacy.tracking.server import all_experiments, connected, without_password

SECONDS = 240  # for the image to be pulled and the pod to end
_EVERY_SECONDS = 2.0
_STUCK = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError")
_USER = 10001
_ENVIRONMENT = {  # the steps have more patience than a check
    "HOME": "/tmp",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "FLPRIVACY_STORAGE_ATTEMPTS": "2",
}
_SECRETS = ("flprivacy-object-store", "flprivacy-mlflow")
_WORDS = b"flprivacy cluster check"


def probe(kubernetes: Kubernetes, asked: Asked, image: str, *, seconds: float = SECONDS) -> Iterator[Line]:
    """Run a pod with the steps' image, account, settings and Secrets; yield what it found; delete it.

    Args:
        kubernetes: where to run it.
        asked: of which installation.
        image: of the steps.
        seconds: after which the pod is given up.
    """
    pod = _pod(asked, image)
    name, where = pod["metadata"]["name"], ("-n", asked.namespace)
    try:
        kubernetes.run("create", "-f", "-", *where, stdin=json.dumps(pod))
    except UnreadError as error:
        yield Line("pod", MEND, f"cannot be created in {asked.namespace} ({error}); mend what Kubernetes names")
        return
    try:
        yield from _followed(kubernetes, asked, name, image, seconds)
    finally:
        kubernetes.run("delete", "pod", name, *where, "--wait=false", "--ignore-not-found")


def _followed(kubernetes: Kubernetes, asked: Asked, name: str, image: str, seconds: float) -> Iterator[Line]:
    until = time.monotonic() + seconds
    reason = "it has not been scheduled"
    while time.monotonic() < until:
        pod = kubernetes.find("pod", name, asked.namespace) or {}
        phase = pod.get("status", {}).get("phase", "")
        if phase in ("Succeeded", "Failed"):
            yield Line("pod", FITS, f"ran {image}")
            yield from _said(kubernetes, asked, name)
            return
        stuck, reason = _held(pod, reason)
        if stuck:
            yield Line("pod", MEND, f"{reason}; push {image} where the nodes may pull it, or mend what this names")
            return
        time.sleep(_EVERY_SECONDS)
    yield Line("pod", MEND, f"did not end within {seconds:.0f} s: {reason}")


def _held(pod: Mapping[str, Any], reason: str) -> tuple[bool, str]:
    """Return whether a pod will never begin, and the last known reason why it has not."""
    status = pod.get("status", {})
    for one in status.get("containerStatuses", ()):
        waiting = one.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _STUCK:
            return True, " ".join(f"{waiting['reason']}: {waiting.get('message', '')}".split())
    for one in status.get("conditions", ()):
        if one["type"] == "PodScheduled" and one["status"] == "False":
            reason = " ".join(f"{one.get('reason', '')}: {one.get('message', '')}".split())
    return False, reason


def _said(kubernetes: Kubernetes, asked: Asked, name: str) -> Iterator[Line]:
    """Yield the lines that ``flprivacy cluster probe`` printed in the pod."""
    text = kubernetes.run("logs", name, "-n", asked.namespace)
    found = [json.loads(line) for line in text.splitlines() if line.startswith('{"subject"')]
    if not found:
        last = (text.strip().splitlines() or ["nothing"])[-1]
        yield Line("pod", UNREAD, f"its log has no line of ours; the last: {last}")
    yield from (Line(one["subject"], one["state"], one["text"]) for one in found)


def _pod(asked: Asked, image: str) -> dict[str, Any]:
    """Return a pod as the compiled pipelines make them; its labels put it under the steps' network policies."""
    environment = [{"configMapRef": {"name": "flprivacy-settings", "optional": True}}]
    environment += [{"secretRef": {"name": name, "optional": True}} for name in _SECRETS]
    container = {
        "name": "main",
        "image": image,
        "command": ["python3", "-m", "flprivacy.cli", "cluster", "probe"],
        "envFrom": environment,
        "env": [{"name": name, "value": value} for name, value in _ENVIRONMENT.items()],
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    }
    security = {"runAsUser": _USER, "runAsGroup": _USER, "runAsNonRoot": True}
    labels = {
        "app.kubernetes.io/part-of": "flprivacy",
        "app.kubernetes.io/component": "check",
        "flprivacy.io/pool": "cpu",
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"flprivacy-check-{uuid4().hex[:8]}", "labels": labels},
        "spec": {
            "serviceAccountName": asked.account,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": SECONDS,
            "securityContext": security | {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
        },
    }


def within() -> Iterator[Line]:
    """Yield a line for the store and one for MLflow, as the environment names them."""
    yield _store(os.environ.get(STORE_VARIABLE, ""))
    yield _mlflow()


def _store(location: str) -> Line:
    """Write an object of a name of its own, read it back, and delete it."""
    if not location or not is_remote(location):
        return Line("store", MEND, f"{STORE_VARIABLE} is {location!r} in the pod; set it in the overlay's settings")
    uri = join(location, f"checks/{uuid4().hex}")
    try:
        objects = open_objects(uri)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "object"
            path.write_bytes(_WORDS)
            objects.upload(path, uri)
        found = objects.read_whole(objects.stat(uri), most=len(_WORDS))
        objects.delete(uri)
    except FlprivacyError as error:
        return Line("store", MEND, str(error))
    if found != _WORDS:
        return Line("store", MEND, f"{uri}: gave back other bytes than were written; check the store")
    return Line("store", FITS, f"{location}: written, read back, deleted")


def _mlflow() -> Line:
    try:
        with connected() as (client, uri):
            return Line("MLflow", FITS, f"{without_password(uri)}: {len(all_experiments(client))} experiments to see")
    except FlprivacyError as error:
        remedy = "check Secret flprivacy-mlflow, mlflow-hosts and the network policies"
        return Line("MLflow", MEND, f"{error}; {remedy}")
