"""What a step needs of a cluster: its pool of nodes, resources, retries, time limit, identity and secrets.

Kubernetes settings become the second document of a compiled pipeline; a run on this machine ignores them. Kubeflow and
Argo repeat them in every node of a run, so a step asks for no more than it must: that it is not root is said by its
image. Names of ConfigMap, Secrets and labels are those that ``k8s/`` creates. Whether the queues of Kueue admit the
steps, and whether they share a cache, is fixed when a pipeline is compiled: neither a pod's labels nor a volume that it
may or may not have can be parameters.
"""

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl.pipeline_channel import PipelineChannel

from flprivacy.execution.isolation import RETRIES
from flprivacy.execution.run_step import MOUNTED
from flprivacy.storage.places import CACHE_VARIABLE

QUEUES_VARIABLE = "FLPRIVACY_QUEUES"  # when a pipeline is compiled: 1 for pods that wait in Kueue's queues
CLAIM_VARIABLE = "FLPRIVACY_CACHE_CLAIM"  # likewise: a PersistentVolumeClaim for the cache that pods share
CACHE = "/cache"
POOL_LABEL = "flprivacy.io/pool"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
ACCELERATOR = "nvidia.com/gpu"  # the resource's name; the card is chosen by a node label
SETTINGS = "flprivacy-settings"
SECRETS = {"objects": "flprivacy-object-store", "mlflow": "flprivacy-mlflow", "webhook": "flprivacy-webhook"}
GPU_TOLERATIONS = [{"key": ACCELERATOR, "operator": "Exists", "effect": "NoSchedule"}]
HOUR = 3600
HOURS = 7 * 24  # of a step that trains or attacks what may be many targets
# Argo counts it from the start of a step's first pod, and kills a later pod when it is over: no step may reach it,
# however long its pods run and wait for their turn.
LONGEST = "30d"
SCRATCH = "64Gi"  # a pod that fills more of its /tmp is evicted, instead of its node
KEPT = dsl.PipelineConfig(ttl_seconds_after_success=7 * 24 * HOUR, ttl_seconds_after_failure=30 * 24 * HOUR)


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """Where a pipeline's steps run: its parameters of the cluster, each a pipeline's parameter or a constant.

    Attributes:
        train_gpus: GPUs of a step that trains, a text: the backend takes a number for none without a word.
        train_nodes: labels that the node of such a step must have.
        train_tolerations: taints that keep others off the GPU pool.
        train_cpu: cores of a step that trains, as Kubernetes writes them.
        train_memory: memory of a step that trains, as Kubernetes writes it.
        work_cpu: cores of the other steps.
        work_memory: memory of the other steps.
    """

    train_gpus: Any
    train_nodes: Any
    train_tolerations: Any
    train_cpu: Any
    train_memory: Any
    work_cpu: Any
    work_memory: Any

    def asked(self) -> dict[str, Any]:
        """Return what the steps that train ask for, for the plan step to check."""
        return {"train_gpus": self.train_gpus, "train_cpu": self.train_cpu, "train_memory": self.train_memory}

    def cpu(
        self, task: dsl.PipelineTask, *, hours: int = 2, secrets: tuple[str, ...] = ("objects",), retry: bool = True
    ) -> dsl.PipelineTask:
        """Run a step on any node but those of the GPU pool.

        Args:
            task: the step.
            hours: after which the step is stopped.
            secrets: keys of SECRETS that it reads.
            retry: try a failed pod again; not for steps whose failure is their answer.
        """
        _common(task, pool="cpu", cpu=self.work_cpu, memory=self.work_memory, hours=hours, retry=retry)
        _read_secrets(task, secrets)
        away = {"key": POOL_LABEL, "operator": "NotIn", "values": ["gpu"]}
        kubernetes.add_node_affinity(task, match_expressions=[away])
        return task

    def gpu(
        self, task: dsl.PipelineTask, *, hours: int = 24, secrets: tuple[str, ...] = ("objects",)
    ) -> dsl.PipelineTask:
        """Run a step on the GPU pool; with a count of 0 on whatever nodes the selector names.

        Args:
            task: the step.
            hours: after which the step is stopped.
            secrets: keys of SECRETS that it reads.
        """
        _common(task, pool="gpu", cpu=self.train_cpu, memory=self.train_memory, hours=hours, retry=True)
        _read_secrets(task, secrets)
        _register(task, self.train_gpus)
        task.set_accelerator_type(ACCELERATOR).set_accelerator_limit(self.train_gpus)
        kubernetes.add_node_selector_json(task, self.train_nodes)
        kubernetes.add_toleration_json(task, self.train_tolerations)
        return task


def _parameters(
    train_gpus: str = "1",
    train_nodes: dict = {},  # noqa: B006 - KFP takes the default as a constant
    train_tolerations: list = GPU_TOLERATIONS,
    train_cpu: str = "4",
    train_memory: str = "16Gi",
    work_cpu: str = "2",
    work_memory: str = "8Gi",
) -> Nodes:
    return Nodes(**locals())


def on_nodes(pipeline: Callable[..., Any]) -> Callable[..., Any]:
    """Add the parameters of the cluster to a pipeline, behind its own, and hand them over as ``nodes``."""
    own = [p for p in inspect.signature(pipeline).parameters.values() if p.name != "nodes"]
    names = inspect.signature(_parameters).parameters

    @functools.wraps(pipeline)
    def with_parameters(*values: Any) -> Any:
        return pipeline(_parameters(*values[len(own) :]), *values[: len(own)])

    returned = inspect.signature(pipeline).return_annotation
    signature = inspect.Signature([*own, *names.values()], return_annotation=returned)
    with_parameters.__signature__ = signature  # type: ignore[attr-defined]
    return with_parameters


def _common(task: dsl.PipelineTask, *, pool: str, cpu: Any, memory: Any, hours: int, retry: bool) -> None:
    _register(task, cpu, memory)
    task.set_cpu_limit(cpu).set_memory_limit(memory)  # Kubernetes takes what a limit says for the request, too
    if retry:
        task.set_retry(RETRIES, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration=LONGEST)
    kubernetes.set_timeout(task, hours * HOUR)
    kubernetes.empty_dir_mount(task, "scratch", "/tmp", size_limit=SCRATCH)  # also where the root is read-only
    kubernetes.add_pod_label(task, "app.kubernetes.io/part-of", "flprivacy")
    kubernetes.add_pod_label(task, POOL_LABEL, pool)
    if os.environ.get(QUEUES_VARIABLE):
        kubernetes.add_pod_label(task, QUEUE_LABEL, f"flprivacy-{pool}")
    if claim := os.environ.get(CLAIM_VARIABLE):
        kubernetes.mount_pvc(task, claim, CACHE)
        task.set_env_variable(name=CACHE_VARIABLE, value=CACHE)
    kubernetes.use_config_map_as_volume(task, SETTINGS, mount_path=str(MOUNTED / "settings"), optional=True)


def _register(task: dsl.PipelineTask, *parameters: Any) -> None:
    """Make the compiler hand these parameters into loops, as it does for inputs but not for resources."""
    task.register_pipeline_channels([p for p in parameters if isinstance(p, PipelineChannel)])


def _read_secrets(task: dsl.PipelineTask, keys: tuple[str, ...]) -> None:
    for key in keys:
        kubernetes.use_secret_as_volume(task, SECRETS[key], mount_path=str(MOUNTED / key), optional=True)
