"""Room for the steps: nodes with memory, cores and GPUs that they may use, and quotas that let them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from flprivacy.cluster.fit.looked_at import FITS, MEND, NOTE, Asked, Check, Kubernetes, Line, variable

_GPU = "nvidia.com/gpu"
_POOL = "flprivacy.io/pool"
_KEEP_OFF = ("NoSchedule", "NoExecute")
_GIB = 1 << 30
_USER_NAMESPACES = (1, 33)  # version of a node from which pods may have user namespaces without being asked for
Node = Mapping[str, Any]


def _cpu_nodes(kubernetes: Kubernetes, asked: Asked) -> Iterator[Line]:
    nodes = [node for node in _ready(kubernetes) if node["metadata"]["labels"].get(_POOL) != "gpu"]
    free = [node for node in nodes if not _taints(node, ())]
    if not free:
        text = "no ready node outside the GPU pool is free of taints; Kubeflow's drivers and our small steps need one"
        yield Line("nodes", MEND, text)
        return
    room = [node for node in free if _holds(node, asked.work_cpu, asked.work_memory)]
    if not room:
        wanted = f"work_cpu {asked.work_cpu} and work_memory {asked.work_memory}"
        yield Line("nodes", MEND, f"none has {wanted}; the largest: {_largest(free)}. Ask for less, or add a node")
    else:
        yield Line("nodes", FITS, f"{len(room)} for the small steps")
    yield from _user_namespaces(kubernetes, asked, free)


def _user_namespaces(kubernetes: Kubernetes, asked: Asked, nodes: Sequence[Node]) -> Iterator[Line]:
    server = kubernetes.find("deployment", "ml-pipeline", asked.kfp_namespace) or {}
    if variable(server, "DEFAULT_SECURITY_CONTEXT_HOST_USERS") != "false":
        return
    old = [node["metadata"]["name"] for node in nodes if _node_version(node) < _USER_NAMESPACES]
    if old:
        text = f"Kubeflow asks for user namespaces, which {', '.join(old)} may not offer (Kubernetes before 1.33)"
        remedy = "set DEFAULT_SECURITY_CONTEXT_HOST_USERS of ml-pipeline to true if pods are refused"
        yield Line("user namespaces", NOTE, f"{text}; {remedy}")


def _gpu_nodes(kubernetes: Kubernetes, asked: Asked) -> Iterator[Line]:
    if asked.train_gpus == "0":
        fitting = [
            node for node in _ready(kubernetes) if _chosen(node, asked) and not _taints(node, asked.train_tolerations)
        ]
        room = [node for node in fitting if _holds(node, asked.train_cpu, asked.train_memory)]
        if room:
            yield Line("GPU pool", FITS, f"not asked for; {len(room)} nodes have room for training")
        else:
            wanted = f"train_cpu {asked.train_cpu} and train_memory {asked.train_memory}"
            yield Line("GPU pool", MEND, f"no node that may train has {wanted}; {_largest(fitting)}. Ask for less")
        return
    chosen = [node for node in _ready(kubernetes) if _chosen(node, asked)]
    cards = [node for node in chosen if parse_quantity(node["status"]["allocatable"].get(_GPU, "0")) > 0]
    if not cards:
        which = f" with labels {dict(asked.train_nodes)}" if asked.train_nodes else ""
        text = f"no node{which} has {_GPU} now: right if the pool grows from zero; else label and taint one"
        yield Line("GPU pool", NOTE, f"{text} (docs/operations.md, step 6), or give --param train_gpus=0")
        return
    yield _with_cards(cards, asked)


def _with_cards(cards: Sequence[Node], asked: Asked) -> Line:
    """Say whether a node with GPUs takes the steps that train."""
    open_to = [node for node in cards if not _taints(node, asked.train_tolerations)]
    if not open_to:
        kept = sorted({taint["key"] for node in cards for taint in _taints(node, asked.train_tolerations)})
        return Line(
            "GPU pool", MEND, f"taint {', '.join(kept)} keeps the steps off; tolerate it with train_tolerations"
        )
    enough = [
        node
        for node in open_to
        if parse_quantity(node["status"]["allocatable"][_GPU]) >= parse_quantity(asked.train_gpus)
        and _holds(node, asked.train_cpu, asked.train_memory)
    ]
    if not enough:
        wanted = f"{asked.train_gpus} GPUs, train_cpu {asked.train_cpu} and train_memory {asked.train_memory}"
        return Line("GPU pool", MEND, f"no node has {wanted} together; the largest: {_largest(open_to)}. Ask for less")
    unmarked = [node["metadata"]["name"] for node in enough if node["metadata"]["labels"].get(_POOL) != "gpu"]
    if unmarked:
        text = f"{', '.join(unmarked)} lack the label {_POOL}=gpu, so small steps may run there"
        return Line("GPU pool", NOTE, f"{text}; kubectl label node {unmarked[0]} {_POOL}=gpu")
    bare = [node["metadata"]["name"] for node in enough if not _taints(node, ())]
    if bare:
        text = f"{', '.join(bare)} have no taint that keeps other pods off the GPUs"
        return Line("GPU pool", NOTE, f"{text}; kubectl taint node {bare[0]} {_GPU}=present:NoSchedule")
    return Line("GPU pool", FITS, f"{len(enough)} nodes")


def _quotas(kubernetes: Kubernetes, asked: Asked) -> Iterator[Line]:
    wanted = {f"requests.{_GPU}": asked.train_gpus}
    for kind in ("", "requests.", "limits."):
        wanted |= {f"{kind}cpu": asked.train_cpu, f"{kind}memory": asked.train_memory}
    fits = True
    for quota in kubernetes.every("resourcequotas", namespace=asked.namespace):
        hard = quota["spec"].get("hard", {})
        name = quota["metadata"]["name"]
        for resource in sorted(wanted.keys() & hard.keys()):
            if parse_quantity(hard[resource]) < parse_quantity(wanted[resource]):
                fits = False
                text = f"{name} allows {resource} {hard[resource]}, one step asks for {wanted[resource]}"
                yield Line("quotas", MEND, f"{text}; raise the quota or ask for less")
    for limits in kubernetes.every("limitranges", namespace=asked.namespace):
        for item in limits["spec"]["limits"]:
            most = item.get("max", {}) if item["type"] in ("Container", "Pod") else {}
            for resource, one in (("cpu", asked.train_cpu), ("memory", asked.train_memory)):
                if resource in most and parse_quantity(most[resource]) < parse_quantity(one):
                    fits = False
                    text = f"{limits['metadata']['name']} allows {resource} {most[resource]}, a step asks for {one}"
                    yield Line("quotas", MEND, f"{text}; raise the limit or ask for less")
    if fits:
        yield Line("quotas", FITS, "none is smaller than what a step asks for")


def _ready(kubernetes: Kubernetes) -> list[Node]:
    """Return the nodes that take pods now."""
    found: list[Node] = []
    for node in kubernetes.every("nodes"):
        states = {one["type"]: one["status"] for one in node["status"].get("conditions", ())}
        if states.get("Ready") == "True" and not node["spec"].get("unschedulable"):
            found.append({**node, "metadata": {"labels": {}, **node["metadata"]}})
    return found


def _chosen(node: Node, asked: Asked) -> bool:
    return all(node["metadata"]["labels"].get(name) == value for name, value in asked.train_nodes.items())


def _taints(node: Node, tolerations: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Return the taints of a node that keep pods with these tolerations off."""
    taints = [taint for taint in node["spec"].get("taints", ()) if taint["effect"] in _KEEP_OFF]
    return [taint for taint in taints if not any(_tolerates(one, taint) for one in tolerations)]


def _tolerates(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    same = toleration.get("key", taint["key"]) == taint["key"]
    effect = toleration.get("effect") or taint["effect"]
    value = toleration.get("operator", "Equal") == "Exists" or toleration.get("value", "") == taint.get("value", "")
    return same and value and effect == taint["effect"]


def _holds(node: Node, cores: str, memory: str) -> bool:
    has = node["status"]["allocatable"]
    wanted = (("cpu", cores), ("memory", memory))
    return all(bool(parse_quantity(has[name]) >= parse_quantity(one)) for name, one in wanted)


def _largest(nodes: Sequence[Node]) -> str:
    if not nodes:
        return "none at all"
    has = max((node["status"]["allocatable"] for node in nodes), key=lambda one: parse_quantity(one["memory"]))
    cards = f", {has[_GPU]} GPUs" if _GPU in has else ""
    return f"{has['cpu']} cores, {parse_quantity(has['memory']) / _GIB:.1f} GiB{cards}"


def _node_version(node: Node) -> tuple[int, int]:
    major, minor, *_ = node["status"]["nodeInfo"]["kubeletVersion"].lstrip("v").split(".")
    return int(major), int(minor)


CHECKS: dict[str, Check] = {
    "nodes": _cpu_nodes,
    "GPU pool": _gpu_nodes,
    "quotas": _quotas,
}
