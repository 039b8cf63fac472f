"""What a check is given, and what it says."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flprivacy.cluster.kubectl import UnreadError

FITS, NOTE, MEND, UNREAD = "fits", "note", "mend", "not read"


class Kubernetes(Protocol):
    """What the checks ask of Kubernetes; :class:`flprivacy.cluster.kubectl.Kubectl` is one."""

    def run(self, *words: str, stdin: str = "") -> str: ...  # noqa: D102
    def find(self, kind: str, name: str, namespace: str = "") -> Mapping[str, Any] | None: ...  # noqa: D102
    def every(self, kind: str, *words: str, namespace: str = "") -> list[Mapping[str, Any]]: ...  # noqa: D102
    def keys(self, name: str, namespace: str) -> frozenset[str] | None: ...  # noqa: D102
    def may(self, verb: str, resource: str, *, account: str, namespace: str) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Line:
    """One thing looked at: whether it fits, and if it does not, what to do."""

    subject: str  # what was looked at
    state: str  # FITS, NOTE (works, at a price that the text names), MEND (text: what to do), UNREAD (text: why)
    text: str  # in one line


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a run would ask of the installation."""

    namespace: str  # in which the steps run
    kfp_namespace: str  # in which Kubeflow Pipelines runs
    account: str  # service account of the steps
    images: tuple[str, ...]  # of the compiled pipelines
    train_gpus: str  # the pipelines' parameters, as they would be sent
    train_nodes: Mapping[str, str]
    train_tolerations: Sequence[Mapping[str, str]]
    train_cpu: str
    train_memory: str
    work_cpu: str
    work_memory: str


def containers(deployment: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the containers of a deployment; none of an empty one."""
    return list(deployment["spec"]["template"]["spec"]["containers"]) if deployment else []


def variable(deployment: Mapping[str, Any], name: str) -> str:
    """Return an environment variable of a deployment's containers; empty if none has it."""
    variables = [one for container in containers(deployment) for one in container.get("env", ())]
    return next((str(one.get("value", "")) for one in variables if one["name"] == name), "")


Check = Callable[[Kubernetes, Asked], Iterator[Line]]


def look(checks: Mapping[str, Check], kubernetes: Kubernetes, asked: Asked) -> Iterator[Line]:
    """Yield the lines of all checks, by subject; what Kubernetes does not tell ends a check, not the others."""
    for subject, check in checks.items():
        try:
            yield from check(kubernetes, asked)
        except UnreadError as error:
            yield Line(subject, UNREAD, str(error))
