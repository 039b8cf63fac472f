"""The table of nodes that Argo keeps of a run of a compiled pipeline, by the rules of KFP 2.17's compiler and driver.

A node carries its template's inputs and outputs: a task's whole description, and the patch of the pod that the driver
makes of it. KFP's stock defaults try every template again, so each node has a twin that carries the same once more.
After KFP 2.17.0, backend/src/v2: compiler/argocompiler/{argo,container,dag}.go say which templates there are and what
they take, driver/{driver,k8s,container}.go what is in a pod's patch, cmd/driver/main.go what a driver puts out. Argo
copies a template's inputs, defaults included, and a twin's outputs (workflow/common/util.go, workflow/controller).
Argo stores a run of up to MOST_BYTES as it is; a larger one with its nodes compressed, which KFP's API does not read;
and none of which the compressed nodes are larger still.
"""

import base64
import gzip
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from tests.services.compiled_pipelines import Task, Values, run_compiled
from tests.services.pod_patch import of_container, of_pod, volumes

MOST_BYTES = 1024 * 1024
# Real nodes have times and ids of their own, and Argo has a compressor of its own: of an audit of 10 targets on
# KFP 2.17.0 92,724 bytes, which are 71,556 here.
_AS_PACKED = 1.3
_BUCKET = "minio://mlpipeline/v2/artifacts"
_TIME = "2026-01-02T03:04:05Z"
_RUN_ID = "7f9c2a41-6d0e-4c58-9f0b-3f8f6a1f2c11"
_SERVERS = {
    "ml_pipeline_server_address": "ml-pipeline.kubeflow",
    "ml_pipeline_server_port": "8887",
    "mlmd_server_address": "metadata-grpc-service.kubeflow",
    "mlmd_server_port": "8080",
    "publish_logs": "true",
}
# What the launcher writes beside every artifact.
_SESSION = {
    "Provider": "minio",
    "Params": {
        "accessKeyKey": "accesskey",
        "disableSSL": "true",
        "endpoint": "seaweedfs.kubeflow:9000",
        "forcePathStyle": "true",
        "fromEnv": "false",
        "maxRetries": "5",
        "region": "minio",
        "secretKeyKey": "secretkey",
        "secretName": "mlpipeline-minio-artifact",
    },
}
# What our steps write beside theirs.
_KEPT = {"kept_in": "s3://hospital-data/flprivacy", "files": 5, "bytes": 12345678}
_FACTS: dict[str, dict[str, Any]] = {
    "audit": _KEPT,
    "target": {"digest": 64 * "a", "topology": "federated", "architecture": "i3d"},
    "scores": {"targets": 84, "failed": 84},
    "scans": {"digest": 64 * "a", "cohort": "chest-ct", "scans": 1387, "sites": 21, "place": "s3://hospital-data/ct"},
}
# Defaults that templates declare for their inputs; Argo keeps them beside the values.
_CONTAINER_DRIVER = {"iteration-index": "-1", "kubernetes-config": ""}
_DAG_DRIVER = {"runtime-config": "", "task": "", "task-name": "", "parent-dag-id": "0", "iteration-index": "-1"}
_DAG_DRIVER |= {"driver-type": "DAG"}
_RETRIES = ("retry-max-count", "retry-backoff-duration", "retry-backoff-factor", "retry-backoff-max-duration")
_EXECUTOR = {"cached-decision": "false"} | dict.fromkeys(_RETRIES, "0")
_OF_FILES = {"pod-spec-patch": "", "cached-decision": "false", "condition": "true", "iteration-count": "0"}
_OF_TYPE: dict[str, Any] = {"LIST": [], "STRUCT": {}, "STRING": "yes", "BOOLEAN": True}


@dataclass(kw_only=True)
class NodeTable:
    """The nodes of one run, by id, as its steps leave them.

    Attributes:
        pipeline: its name.
        parameters: of the run, defaults filled in.
        lists: what steps return that loops go through, by ``step.output``.
    """

    pipeline: str
    parameters: Mapping[str, Any]
    lists: Mapping[str, Sequence[Any]]
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def stored_bytes(self) -> int:
        """Return their size as they are."""
        return len(_json(self.nodes))

    def compressed_bytes(self) -> int:
        """Return their size as Argo compresses them: by id, so that what is alike is seldom close enough to be seen."""
        sorted_nodes = {key: self.nodes[key] for key in sorted(self.nodes)}
        packed = base64.b64encode(gzip.compress(_json(sorted_nodes).encode(), 6, mtime=0))
        return round(_AS_PACKED * len(packed))

    def run_step(self, task: Task) -> Values:
        """Return what a step returns."""
        step, declared = task.name.rpartition("/")[2], task.component.get("outputDefinitions", {})
        told = {"store_session_info": _json(_SESSION)}
        artifacts = {
            name: [
                {
                    "name": str(len(self.nodes)),
                    "type": {"instanceSchema": ""},
                    "uri": f"{self._folder(task)}/{name}",
                    "metadata": told | {"display_name": name} | _FACTS.get(name, {}),
                }
            ]
            for name in declared.get("artifacts", {})
        }
        parameters = {
            name: self.lists.get(f"{step}.{name}", _OF_TYPE.get(one["parameterType"], 0))
            for name, one in declared.get("parameters", {}).items()
        }
        return Values(parameters=parameters, artifacts=artifacts)

    def root(self, component: Mapping[str, Any]) -> None:
        """Add the nodes of the run itself."""
        config = _json({"gcsOutputDirectory": _BUCKET, "parameterValues": self.parameters})
        self._twice("", "DAG", "entrypoint")
        self._group_driver("root-driver", component, **{"runtime-config": config, "driver-type": "ROOT_DAG"})
        self._twice("root", "DAG", "root", {"parent-dag-id": "1"})

    def group(self, path: str, spec: Mapping[str, Any], component: Mapping[str, Any], items: int | None) -> None:
        """Add the nodes of a group of tasks, and of all rounds of a loop."""
        name, own = path.rpartition(".")[2], {"task": _stable(spec), "task-name": path.rpartition(".")[2]}
        if items is None:
            self._group_driver(f"{path}-driver", component, **own)
            self._twice(path, "DAG", f"comp-{name}", {"parent-dag-id": "123"})
            return
        self._twice(path, "DAG", f"comp-{name}-{name}-iterator", {"parent-dag-id": "123"})
        self._group_driver(f"{path}.iteration-driver", component, **own)
        self._node(f"{path}.iteration-iterations", "TaskGroup", f"comp-{name}-iteration")
        for number in range(items):
            item, given = f"{path}.iteration-iterations({number}:{number})", {"iteration-index": str(number)}
            self._twice(item, "DAG", f"comp-{name}-iteration", {"parent-dag-id": "123"} | given)
            self._group_driver(f"{item}.iteration-item-driver", component, **own, **given)
            self._twice(f"{item}.iteration-item", "DAG", f"comp-{name}", {"parent-dag-id": "123"})

    def hook(self, path: str, name: str) -> None:
        """Add the nodes around a task that comes last in any case."""
        self._twice(path, "DAG", f"exit-hook-root-{name}", {"parent-dag-id": "123"})

    def step(self, path: str, spec: Mapping[str, Any], task: Task) -> None:
        """Add the nodes of a step and of its driver."""
        patch = _json(self._patch(task))
        inputs = {"component": _stable(task.component), "task": _stable(spec), "container": _stable(task.container)}
        inputs |= {"task-name": path.rpartition(".")[2], "parent-dag-id": "123", "iteration-index": "-1"}
        inputs |= {"kubernetes-config": _stable(task.platform)}
        outputs = {"pod-spec-patch": patch, "cached-decision": "false", "condition": "nil"}
        self._twice(f"{path}-driver", "Pod", "system-container-driver", inputs, outputs, _CONTAINER_DRIVER)
        own = {"pod-spec-patch": patch}
        labels = task.platform.get("podMetadata", {}).get("labels", {})
        for number, (key, value) in enumerate(sorted(labels.items()), 1):
            own |= {f"pod-metadata-label-key-{number}": key, f"pod-metadata-label-val-{number}": value}
        if "retryPolicy" in spec:
            own |= dict(zip(_RETRIES, ("2", "30", "2", "2592000"), strict=True))
        kind = f"metadata-0-{len(labels)}-{'retry-' if 'retryPolicy' in spec else ''}system-container"
        self._twice(path, "DAG", f"{kind}-executor", own | {"cached-decision": "false"}, defaults=_EXECUTOR)
        self._twice(f"{path}.executor", "Pod", f"{kind}-impl", own, {})

    def _group_driver(self, path: str, component: Mapping[str, Any], **own: str) -> None:
        inputs = {"component": _stable(component), "runtime-config": "", "task": "", "task-name": ""}
        inputs |= {"parent-dag-id": "123", "iteration-index": "-1", "driver-type": "DAG"}
        outputs = {"execution-id": "124", "iteration-count": "2", "condition": "nil"}
        self._twice(path, "Pod", "system-dag-driver", inputs | own, outputs, _DAG_DRIVER)

    def _twice(
        self,
        path: str,
        kind: str,
        template: str,
        inputs: Mapping[str, str] | None = None,
        outputs: Mapping[str, str] | None = None,
        defaults: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Add a node that may be tried again, and its first try."""
        more: dict[str, Any] = {}
        if inputs is not None:
            given = ({"name": key, "value": value} for key, value in inputs.items())
            kept = [one | {"default": defaults[one["name"]]} if one["name"] in defaults else one for one in given]
            more["inputs"] = {"parameters": kept}
        if outputs is not None:
            files: dict[str, dict[str, str]] = {key: {"path": f"/tmp/outputs/{key}"} for key in outputs}
            for key in outputs.keys() & _OF_FILES.keys():
                files[key]["default"] = _OF_FILES[key]
            told = [{"name": key, "value": value, "valueFrom": files[key]} for key, value in outputs.items()]
            more["outputs"] = {"parameters": told, "exitCode": "0"} if told else {"exitCode": "0"}
        self._node(path, "Retry", template, **more)
        self._node(f"{path}(0)", kind, template, nodeFlag={"retried": True}, **more)

    def _node(self, path: str, kind: str, template: str, **more: Any) -> None:
        run = f"{self.pipeline}-x7k2p"
        name = f"{run}.{path}" if path else run
        found = {
            "id": _node_id(run, name),
            "name": name,
            "displayName": name.rpartition(".")[2],
            "type": kind,
            "templateName": template,
            "templateScope": f"local/{run}",
            "phase": "Succeeded",
            "boundaryID": _node_id(run, name.rpartition(".")[0]),
            "startedAt": _TIME,
            "finishedAt": _TIME,
            "progress": "1/1",
            "resourcesDuration": {"cpu": 10, "memory": 100},
            "children": [_node_id(run, f"{name}(0)")],
        }
        if kind == "DAG":
            found["outboundNodes"] = found["children"]
        if kind == "Pod":
            found |= {"hostNodeName": "gke-cluster-pool-0a1b2c3d-4e5f", "taskResultSynced": True}
        self.nodes[found["id"]] = found | more

    def _folder(self, task: Task) -> str:
        salt = uuid.uuid5(uuid.NAMESPACE_URL, task.name)
        return f"{_BUCKET}/{self.pipeline}/{_RUN_ID}/{task.name.rpartition('/')[2]}/{salt}"

    def _executor_input(self, task: Task) -> dict[str, Any]:
        declared = task.component.get("outputDefinitions", {})
        types = {name: one["artifactType"] for name, one in declared.get("artifacts", {}).items()}
        folder, outputs = self._folder(task), types | {"executor-logs": {"schemaTitle": "system.Artifact"}}
        written = {
            name: {"artifacts": [{"name": name, "type": kind, "uri": f"{folder}/{name}"}]}
            for name, kind in outputs.items()
        }
        files = {name: {"outputFile": f"/tmp/kfp/outputs/{name}"} for name in declared.get("parameters", {})}
        read = {name: {"artifacts": found} for name, found in task.given.artifacts.items()}
        return {
            "inputs": {"parameterValues": task.given.parameters | task.parameters(), "artifacts": read},
            "outputs": {
                "parameters": files,
                "artifacts": written,
                "outputFile": f"{folder.replace('minio:/', '/minio')}/output_metadata.json",
            },
        }

    def _patch(self, task: Task) -> dict[str, Any]:
        """Return the patch of a step's pod."""
        words = {"pipeline_name": self.pipeline, "run_id": _RUN_ID, "execution_id": "123"}
        words |= {"executor_input": _json(self._executor_input(task)), "component_spec": _json(task.component)}
        words |= {"pod_name": "$(KFP_POD_NAME)", "pod_uid": "$(KFP_POD_UID)", **_SERVERS}
        command = [word for name, value in words.items() for word in (f"--{name}", value)]
        main = {
            "name": "main",
            "image": task.container["image"],
            "command": ["/kfp-launcher/launch", *command, "--publish_logs", "true", "--"],
            "args": [*task.container["command"], *task.container["args"]],
        }
        return {"volumes": volumes(task), "containers": [main | of_container(task)]} | of_pod(task, self.parameters)


def node_table(file: Path, parameters: Mapping[str, Any], lists: Mapping[str, Sequence[Any]]) -> NodeTable:
    """Return the table of a run in which every step succeeds at once and none comes from the cache.

    Args:
        file: the compiled pipeline.
        parameters: of the run.
        lists: what steps return that loops go through, by ``step.output``.
    """
    spec = next(yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader))
    declared = spec["root"]["inputDefinitions"]["parameters"]
    defaults = {name: one["defaultValue"] for name, one in declared.items() if "defaultValue" in one}
    table = NodeTable(pipeline=spec["pipelineInfo"]["name"], parameters=defaults | dict(parameters), lists=lists)
    table.root(spec["root"])
    run_compiled(file, parameters, run_id=_RUN_ID, run_step=table.run_step, watcher=table)
    return table


def _node_id(run: str, name: str) -> str:
    return f"{run}-{uuid.uuid5(uuid.NAMESPACE_URL, name).int % 2**32}"


def _stable(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
