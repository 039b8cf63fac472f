"""Which connections the NetworkPolicies of a build allow, in the words of the table in docs/operations.md."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.k8s.builds import K8S, OTHER_SETTINGS, Resource, kinds, label
from tests.k8s.checks import matches, pods

TABLE = Path(__file__).parents[2] / "docs" / "operations.md"
# Whose pods the policies select; every edge starts or ends at one of them.
OURS = ("steps", "mlflow", "mlflow-backup", "mlflow-database")

Edge = tuple[str, str, str]  # from, to, "TCP 5000"


def settings(build: str) -> dict[str, str]:
    """Return the overlay's settings, with those that a build with everything on adds."""
    overlay, _, everything = build.partition(",")
    found: dict[str, str] = yaml.safe_load((K8S / "overlays" / overlay / "settings.yaml").read_text())["data"]
    return found | OTHER_SETTINGS if everything else found


def components(build: str) -> set[str]:
    """Return the names of the components that a build uses."""
    overlay, _, everything = build.partition(",")
    text = (K8S / "overlays" / overlay / "kustomization.yaml").read_text()
    return set(re.findall(rf"^{'(?:# )?' if everything else ''}- \.\./\.\./components/(\S+)", text, re.MULTILINE))


def _places(build: str) -> dict[str, tuple[str, dict[str, str]]]:
    own = settings(build)
    steps, kfp = own["steps-namespace"], own["kfp-namespace"]
    return {
        "steps": (steps, {"app.kubernetes.io/part-of": "flprivacy"}),
        "mlflow": ("flprivacy", {"app.kubernetes.io/name": "mlflow"}),
        "mlflow-backup": ("flprivacy", {"app.kubernetes.io/name": "mlflow-backup"}),
        "mlflow-database": ("flprivacy", {"app.kubernetes.io/name": "mlflow-database"}),
        "cluster-dns": ("kube-system", {"k8s-app": "kube-dns"}),
        "kfp-api": (kfp, {"app": "ml-pipeline"}),
        "kfp-metadata": (kfp, {"component": "metadata-grpc-server"}),
        "kfp-object-store": (kfp, {"app": "seaweedfs"}),
        "kfp-run-pods": (steps, {"pipelines.kubeflow.org/v2_component": "true"}),
    }


def _addresses(build: str) -> dict[str, str]:
    own = settings(build)
    found = {
        "node-dns": "169.254.20.10/32",
        "google-metadata": "169.254.169.254/32",
        "google-metadata-proxy": "169.254.169.252/32",
        "kubernetes-api": own["kubernetes-api-cidr"],
        "object-store": own["object-store-cidr"],
    }
    return found | {
        name: own[f"{key}-cidr"]
        for name, key in (("external-database", "database"), ("webhook", "webhook"))
        if f"{key}-cidr" in own
    }


def _exact(selector: Resource) -> list[dict[str, str]]:
    """Return the labels that a selector asks for, one set for each value it admits."""
    found = [dict(selector.get("matchLabels", {}))]
    for term in selector.get("matchExpressions", ()):
        if term["operator"] != "In":
            raise NotImplementedError(term["operator"])
        found = [each | {term["key"]: value} for each in found for value in term["values"]]
    return found


def _names(build: str, namespace: str, selector: Resource) -> list[str]:
    known = _places(build)
    return [
        next((name for name, place in known.items() if place == (namespace, labels)), f"{namespace} {labels}")
        for labels in _exact(selector)
    ]


def _peers(build: str, namespace: str, peers: list[Resource]) -> Iterator[str]:
    if not peers:
        yield "anything"
    for peer in peers:
        if "ipBlock" in peer:
            yield peer["ipBlock"]["cidr"] + "".join(f" except {each}" for each in peer["ipBlock"].get("except", ()))
        else:
            where = peer.get("namespaceSelector")
            place = where["matchLabels"]["kubernetes.io/metadata.name"] if where else namespace
            yield from _names(build, place, peer.get("podSelector", {}))


def allowed(build: str, resources: list[Resource]) -> tuple[set[Edge], set[Edge]]:
    """Return what may leave our pods and what may enter them; an end outside the cluster is its network."""
    out: set[Edge] = set()
    into: set[Edge] = set()
    for policy in kinds(resources, "NetworkPolicy"):
        spec, namespace = policy["spec"], policy["metadata"]["namespace"]
        for direction, way, edges in (("egress", "to", out), ("ingress", "from", into)):
            for rule in spec.get(direction, ()):
                for port in rule.get("ports") or ({},):
                    name = f"{port.get('protocol', 'TCP')} {port.get('port', 'any')}"
                    for own in _names(build, namespace, spec["podSelector"]):
                        for peer in _peers(build, namespace, rule.get(way, [])):
                            edges.add((own, peer, name) if way == "to" else (peer, own, name))
    return out, into


def undenied(build: str, resources: list[Resource]) -> list[str]:
    """Return who of ours is not shut off by default, and policies that do not say which directions they rule."""
    denied: dict[str, set[str]] = {name: set() for name in OURS}
    faults = []
    for policy in kinds(resources, "NetworkPolicy"):
        spec = policy["spec"]
        if {"Ingress", "Egress"} & set(spec["policyTypes"]) != set(spec["policyTypes"]) or not spec["policyTypes"]:
            faults.append(f"{label(policy)}: policyTypes {spec['policyTypes']}")
        for direction in ("Ingress", "Egress"):
            if spec.get(direction.lower()) and direction not in spec["policyTypes"]:
                faults.append(f"{label(policy)}: has rules for {direction} that do not count")
        for name, (namespace, labels) in _places(build).items():
            if name in OURS and namespace == policy["metadata"]["namespace"] and matches(spec["podSelector"], labels):
                denied[name] |= set(spec["policyTypes"])
    return faults + [
        f"{name}: open to {way}" for name in OURS for way in ("Ingress", "Egress") if way not in denied[name]
    ]


def unlabelled(build: str, resources: list[Resource]) -> list[str]:
    """Return our names that no pod of the build answers to (the steps' pods are made by KFP)."""
    absent = {"steps"} | ({"mlflow-database"} if "external-database" in components(build) else set())
    there: list[tuple[str, dict[str, Any]]] = [(namespace, meta["labels"]) for _, namespace, meta, _ in pods(resources)]
    return [
        name
        for name, (namespace, labels) in _places(build).items()
        if name in OURS and name not in absent
        if not any(namespace == place and labels.items() <= own.items() for place, own in there)
    ]


def documented(build: str, text: str) -> set[Edge]:
    """Return the edges of the table that a build should have, with the networks that its settings name."""
    used, networks, rows = components(build), _addresses(build), set()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
        if len(cells) != 5 or not re.match(r"(TCP|UDP) [`\d]", cells[2]):
            continue
        start, end, ports, when, why = cells[0].strip("`"), cells[1].strip("`"), *cells[2:]
        ports = ports.replace("`object-store-port`", settings(build)["object-store-port"])
        if not why:
            raise ValueError(f"{TABLE.name}: the edge {start} to {end} does not say what it is for")
        word, _, component = when.rpartition(" ")
        if when == "always" or (component.strip("`") in used) is (word == "with"):
            rows |= {(start, networks.get(end, end), port.strip()) for port in ports.split(",")}
    return rows
