"""The MLflow server of ``k8s/``: its own Deployment, run as containers of our image instead of by a cluster."""

import base64
import json
import re
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from images.docker import docker
from tests.in_images.pod import Pod

MANIFESTS = Path(__file__).parents[2] / "k8s" / "base" / "mlflow"
_READY_SECONDS = 240.0
_STEPS_USER = "flprivacy-steps"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server.

    Attributes:
        uri: where it answers.
        username: of the user that steps log in as, who owns nothing yet.
        password: of that user.
        containers: names of its containers.
    """

    uri: str
    username: str
    password: str
    containers: tuple[str, ...]

    def steps_secret(self) -> dict[str, str]:
        """Return the Secret ``flprivacy-mlflow``."""
        return {"MLFLOW_TRACKING_USERNAME": self.username, "MLFLOW_TRACKING_PASSWORD": self.password}


@contextmanager
def mlflow_server(
    *, image: str, database: Mapping[str, str], settings: Mapping[str, str], objects: Mapping[str, str], work: Path
) -> Iterator[Server]:
    """Run the Deployment's init container, then its server, and make a user for the steps.

    Args:
        image: of MLflow.
        database: libpq's variables: PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE.
        settings: of the ConfigMap ``mlflow-settings``, but for the database and the hosts.
        objects: the Secret ``mlflow-object-store``.
        work: folder for logs and the containers' own folders.

    Raises:
        RuntimeError: a container ends, or the server does not answer.
    """
    documents = [d for file in sorted(MANIFESTS.glob("*.yaml")) for d in yaml.safe_load_all(file.read_text()) if d]
    deployment = next(d for d in documents if d["kind"] == "Deployment" and d["metadata"]["name"] == "mlflow")
    spec = deployment["spec"]["template"]["spec"]
    port = _free_port()
    hosts = f"127.0.0.1:{port},localhost:{port}"
    where = {name: database[name] for name in ("PGHOST", "PGPORT")}
    config_maps = {"mlflow-settings": {**settings, **where, "MLFLOW_SERVER_ALLOWED_HOSTS": hosts}}
    admin = {"MLFLOW_AUTH_ADMIN_USERNAME": "admin", "MLFLOW_AUTH_ADMIN_PASSWORD": secrets.token_urlsafe(18)}
    values = {
        "mlflow-database": {f"POSTGRES_{n}": database[f"PG{p}"] for n, p in _DATABASE_KEYS},
        "mlflow-server": {"MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32), **admin},
        "mlflow-object-store": dict(objects),
    }
    migrate = _pod(spec["initContainers"][0], image, config_maps, values, work / "migrate")
    code, _ = migrate.run(f"flprivacy-mlflow-migrate-{port}", work / "migrate.log")
    if code:
        raise RuntimeError(f"the migration ended with {code}: {_tail(work / 'migrate.log')}")
    pod = _pod(spec["containers"][0], image, config_maps, values, work / "server")
    pod = replace(pod, command=[word.replace("--port=5000", f"--port={port}") for word in pod.command])
    name, log = f"flprivacy-mlflow-{port}", work / "server.log"
    process = pod.start(name, log)
    try:
        uri = f"http://127.0.0.1:{port}"
        _wait(f"{uri}/health", process, log)
        password = secrets.token_urlsafe(18)
        user = (admin["MLFLOW_AUTH_ADMIN_USERNAME"], admin["MLFLOW_AUTH_ADMIN_PASSWORD"])
        post(f"{uri}/api/2.0/mlflow/users/create", user, {"username": _STEPS_USER, "password": password})
        yield Server(uri=uri, username=_STEPS_USER, password=password, containers=(name,))
    finally:
        if process.poll() is None:
            docker("stop", "--time", "20", name)
        process.wait(timeout=60)


_DATABASE_KEYS = (("USER", "USER"), ("PASSWORD", "PASSWORD"), ("DB", "DATABASE"))


def post(url: str, user: tuple[str, str], body: Mapping[str, Any]) -> dict[str, Any]:
    """Send JSON with basic auth, and return the answer."""
    token = base64.b64encode(":".join(user).encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return dict(json.loads(answer.read() or b"{}"))


def _pod(
    container: Mapping[str, Any],
    image: str,
    config_maps: Mapping[str, Mapping[str, str]],
    values: Mapping[str, Mapping[str, str]],
    work: Path,
) -> Pod:
    """Return a container of a manifest with its variables filled in and its volumes mounted."""
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    environment: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        environment |= config_maps[source["configMapRef"]["name"]]
    for entry in container.get("env", ()):
        reference = entry.get("valueFrom", {}).get("secretKeyRef")
        if reference is None:
            environment[entry["name"]] = entry["value"]
        elif reference["key"] in values[reference["name"]] or not reference.get("optional"):
            environment[entry["name"]] = values[reference["name"]][reference["key"]]
    words = [*container["command"], *container.get("args", ())]
    filled = [re.sub(r"\$\((\w+)\)", lambda match: environment[match.group(1)], word) for word in words]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    return Pod(
        image=image,
        command=filled,
        environment=environment,
        folders={mounts["tmp"]: work},
        files={mounts["files"]: MANIFESTS / "files"},
    )


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (OSError, urllib.error.URLError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"MLflow does not answer at {url}: {_tail(log)}") from error
            time.sleep(0.5)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
