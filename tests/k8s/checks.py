"""What has to hold in every build, as functions from resources to the faults found.

Not assertions: the tests break a manifest in memory on purpose and expect the fault to be found.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.k8s.builds import K8S, Resource, kinds, label

_QUANTITY = re.compile(r"^(\d+(\.\d+)?|\.\d+)(m|k|Ki|Mi|M|Gi|G|Ti|T)?$")
_CRON_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_QUANTITY_KEYS = {"cpu", "memory", "storage", "ephemeral-storage", "sizeLimit", "pods", "persistentvolumeclaims"}
_IDENTITIES = {"eks.amazonaws.com/role-arn", "iam.gke.io/gcp-service-account"}
# What the administrator or KFP brings: Secrets from k8s/secrets, and this one ConfigMap for a restore.
_GIVEN_CONFIG_MAPS = {("flprivacy", "mlflow-restore")}
_SECRETS_NAMESPACE = {"mlflow.yaml": "flprivacy"}

Pod = tuple[str, str, Resource, Resource]  # whose it is, namespace, metadata of the template, pod spec


def pods(resources: list[Resource]) -> Iterator[Pod]:
    """Yield every pod template."""
    for each in kinds(resources, "Deployment", "StatefulSet", "DaemonSet", "Job"):
        template = each["spec"]["template"]
        yield label(each), each["metadata"]["namespace"], template["metadata"], template["spec"]
    for each in kinds(resources, "CronJob"):
        template = each["spec"]["jobTemplate"]["spec"]["template"]
        yield label(each), each["metadata"]["namespace"], template["metadata"], template["spec"]


def containers(resources: list[Resource]) -> Iterator[tuple[str, Resource, Resource]]:
    """Yield every container with its name for messages and its pod's spec."""
    for name, _, _, spec in pods(resources):
        for each in (*spec.get("initContainers", ()), *spec["containers"]):
            yield f"{name}[{each['name']}]", spec, each


def matches(selector: Resource, labels: dict[str, str]) -> bool:
    """Tell whether a label selector takes a pod with these labels."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for term in selector.get("matchExpressions", ()):
        if term["operator"] != "In":
            raise NotImplementedError(term["operator"])
        if labels.get(term["key"]) not in term["values"]:
            return False
    return True


def selectors(resources: list[Resource]) -> Iterator[str]:
    """Selectors take pods of ours; a workload takes its own."""
    there = [(namespace, meta.get("labels", {})) for _, namespace, meta, _ in pods(resources)]
    for each in kinds(resources, "Deployment", "StatefulSet"):
        if not matches(each["spec"]["selector"], each["spec"]["template"]["metadata"]["labels"]):
            yield f"{label(each)}: does not select its own pods"
    for each in kinds(resources, "Service", "PodDisruptionBudget"):
        raw = each["spec"]["selector"]
        selector = {"matchLabels": raw} if each["kind"] == "Service" else raw
        if not any(place == each["metadata"]["namespace"] and matches(selector, labels) for place, labels in there):
            yield f"{label(each)}: selects no pod"
    for each in kinds(resources, "StatefulSet"):
        governing = (each["metadata"]["namespace"], each["spec"]["serviceName"])
        headless = {
            (one["metadata"]["namespace"], one["metadata"]["name"])
            for one in kinds(resources, "Service")
            if one["spec"].get("clusterIP") == "None"
        }
        if governing not in headless:
            yield f"{label(each)}: no headless Service {governing[1]}"


def ports(resources: list[Resource]) -> Iterator[str]:
    """Services and probes lead to ports that the containers have."""
    for each in kinds(resources, "Service"):
        selector = {"matchLabels": each["spec"]["selector"]}
        open_ports: set[Any] = set()
        for _, namespace, meta, spec in pods(resources):
            if namespace == each["metadata"]["namespace"] and matches(selector, meta.get("labels", {})):
                for container in spec["containers"]:
                    for port in container.get("ports", ()):
                        open_ports |= {port["containerPort"], port.get("name")}
        for port in each["spec"]["ports"]:
            if port.get("targetPort", port["port"]) not in open_ports:
                yield f"{label(each)}: port {port['port']} leads to {port.get('targetPort')}, which no container has"
    for name, _, container in containers(resources):
        own = {value for port in container.get("ports", ()) for value in (port["containerPort"], port.get("name"))}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            http = container.get(probe, {}).get("httpGet")
            if http and http["port"] not in own:
                yield f"{name}: {probe} asks port {http['port']}, which it has not"


def probes(resources: list[Resource]) -> Iterator[str]:
    """What serves is probed."""
    for each in kinds(resources, "Deployment", "StatefulSet"):
        for container in each["spec"]["template"]["spec"]["containers"]:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if probe not in container:
                    yield f"{label(each)}[{container['name']}]: no {probe}"


def bounded(resources: list[Resource]) -> Iterator[str]:
    """Every container asks for cpu and memory and is held to them; scratch space on the node is bounded."""
    for name, _, container in containers(resources):
        for part in ("requests", "limits"):
            for what in ("cpu", "memory"):
                if what not in container.get("resources", {}).get(part, {}):
                    yield f"{name}: no {part} for {what}"
    for name, _, _, spec in pods(resources):
        for volume in spec.get("volumes", ()):
            if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                yield f"{name}: the volume {volume['name']} has no sizeLimit"
            if "hostPath" in volume:
                yield f"{name}: the volume {volume['name']} is the node's own disk"


def locked_down(resources: list[Resource]) -> Iterator[str]:
    """Pod Security level `restricted`, and a root file system that cannot be written."""
    for name, _, _, spec in pods(resources):
        context = spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser") or not context.get("runAsGroup"):
            yield f"{name}: may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name}: no seccomp profile"
        if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{name}: uses the node's own namespaces"
    for name, _, container in containers(resources):
        context = container.get("securityContext", {})
        if context.get("readOnlyRootFilesystem") is not True:
            yield f"{name}: its root file system can be written"
        if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
            yield f"{name}: may gain privileges"
        if context.get("capabilities", {}).get("drop") != ["ALL"] or context["capabilities"].get("add"):
            yield f"{name}: has capabilities"
        if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
            yield f"{name}: runs as root"


def tokens(resources: list[Resource]) -> Iterator[str]:
    """Only an account with a role needs a token, and only its pods get one."""
    bound = {
        (subject["namespace"], subject["name"])
        for each in kinds(resources, "RoleBinding", "ClusterRoleBinding")
        for subject in each["subjects"]
    }
    for each in kinds(resources, "ServiceAccount"):
        needed = (each["metadata"]["namespace"], each["metadata"]["name"]) in bound
        if each.get("automountServiceAccountToken") is not needed:
            yield f"{label(each)}: automountServiceAccountToken has to be {str(needed).lower()}"
    for name, namespace, _, spec in pods(resources):
        if (namespace, spec.get("serviceAccountName")) not in bound and spec.get(
            "automountServiceAccountToken"
        ) is not False:
            yield f"{name}: mounts a token that it does not need"


def roles(resources: list[Resource]) -> Iterator[str]:
    """No wildcard, nothing cluster-wide, Secrets and ConfigMaps by name only."""
    for each in kinds(resources, "ClusterRole", "ClusterRoleBinding"):
        yield f"{label(each)}: rights on the whole cluster"
    for each in kinds(resources, "Role"):
        for rule in each["rules"]:
            if any("*" in rule.get(key, ()) for key in ("apiGroups", "resources", "verbs")):
                yield f"{label(each)}: a wildcard in {rule}"
            named = {"secrets", "configmaps"} & set(rule["resources"])
            if named and (not rule.get("resourceNames") or set(rule["verbs"]) - {"get"}):
                yield f"{label(each)}: {sorted(named)} are to be read one by one, by name"
    accounts = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in kinds(resources, "ServiceAccount")}
    names = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in kinds(resources, "Role")}
    for each in kinds(resources, "RoleBinding"):
        if (each["metadata"]["namespace"], each["roleRef"]["name"]) not in names:
            yield f"{label(each)}: no Role {each['roleRef']['name']} in its namespace"
        for subject in each["subjects"]:
            if (subject["namespace"], subject["name"]) not in accounts:
                yield f"{label(each)}: no ServiceAccount {subject['name']} in {subject['namespace']}"


def _walk(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _walk(value, (*path, str(key)))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _walk(value, (*path, str(number)))
    else:
        yield path, node


def quantities(resources: list[Resource]) -> Iterator[str]:
    """Amounts are Kubernetes quantities, and no request is above its limit."""
    for each in resources:
        for path, value in _walk(each.get("spec", {})):
            amount = path[-1] in _QUANTITY_KEYS or path[-1].startswith(("requests.", "limits.", "services."))
            amount = amount or path[-1] == "nominalQuota"
            if amount and path[-2:-1] != ("coveredResources",) and not _QUANTITY.match(str(value)):
                yield f"{label(each)}: {'.'.join(path)} is {value!r}, which is no quantity"
    for name, _, container in containers(resources):
        amounts = container.get("resources", {})
        for what, limit in amounts.get("limits", {}).items():
            asked = amounts.get("requests", {}).get(what, limit)
            if _QUANTITY.match(str(asked)) and _QUANTITY.match(str(limit)) and number(asked) > number(limit):
                yield f"{name}: asks for {asked} {what} and may have {limit}"


def number(quantity: str | int) -> float:
    """Return a quantity as a number of its base unit."""
    text, factors = str(quantity), {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    factors |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
    for suffix in sorted(factors, key=len, reverse=True):
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * factors[suffix]
    return float(text)


def _cron_fault(text: str) -> str:
    fields = text.split()
    if len(fields) != 5:
        return "has not 5 fields"
    for field, (low, high) in zip(fields, _CRON_FIELDS, strict=True):
        for part in field.split(","):
            found = re.fullmatch(r"(\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?", part)
            if not found:
                return f"has {part!r}"
            first = int(found[2]) if found[2] else low
            last = int(found[3]) if found[3] else max(first, low)
            if not low <= first <= last <= high:
                return f"has {part!r}, outside {low} to {high}"
    return ""


def schedules(resources: list[Resource]) -> Iterator[str]:
    """Cron expressions can be read, say their time zone, and jobs end and do not overlap."""
    for each in kinds(resources, "CronJob"):
        spec = each["spec"]
        if fault := _cron_fault(spec["schedule"]):
            yield f"{label(each)}: schedule {spec['schedule']!r} {fault}"
        if not spec.get("timeZone"):
            yield f"{label(each)}: no time zone"
        if spec.get("concurrencyPolicy") != "Forbid":
            yield f"{label(each)}: may overlap with itself"
        if not spec["jobTemplate"]["spec"].get("activeDeadlineSeconds"):
            yield f"{label(each)}: may run for ever"


def secret_templates(folder: Path = K8S / "secrets") -> dict[tuple[str, str], set[str]]:
    """Return the keys of the Secrets that the administrator makes, by (namespace or "steps", name)."""
    found = {}
    for file in sorted(folder.glob("*.yaml")):
        for each in yaml.safe_load_all(file.read_text()):
            found[_SECRETS_NAMESPACE.get(file.name, "steps"), each["metadata"]["name"]] = set(each["stringData"])
    return found


def no_secret_values(resources: list[Resource]) -> Iterator[str]:
    """No Secret in a build, and nothing that is named like one holds a value."""
    for each in kinds(resources, "Secret"):
        yield f"{label(each)}: a Secret would overwrite the administrator's"
    suspicious = re.compile(r"(PASSWORD|SECRET|TOKEN|ACCESS_KEY|CREDENTIAL)", re.IGNORECASE)
    for name, _, container in containers(resources):
        for variable in container.get("env", ()):
            if suspicious.search(variable["name"]) and variable.get("value"):
                yield f"{name}: {variable['name']} has its value in the manifest"
    for each in kinds(resources, "ConfigMap"):
        for key, value in each.get("data", {}).items():
            if suspicious.search(key) and value:
                yield f"{label(each)}: {key} belongs into a Secret"
    for each in resources:
        for path, value in _walk(each):
            if re.search(r"://[^/\s:@]+:[^/\s@]+@", str(value)) or re.search(
                r"\b(AKIA|ASIA)[A-Z0-9]{16}\b", str(value)
            ):
                yield f"{label(each)}: credentials in {'.'.join(path)}"


def references(resources: list[Resource]) -> Iterator[str]:
    """Whatever a pod refers to is in the build, or is listed as the administrator's."""
    there = {(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]) for each in resources}
    secrets = secret_templates()
    maps = {
        (each["metadata"]["namespace"], each["metadata"]["name"]): set(each.get("data", {}))
        for each in kinds(resources, "ConfigMap")
    }
    for name, namespace, _, spec in pods(resources):
        if ("ServiceAccount", namespace, spec.get("serviceAccountName", "default")) not in there:
            yield f"{name}: no ServiceAccount {spec.get('serviceAccountName')}"
        if ("PriorityClass", "", spec.get("priorityClassName")) not in there:
            yield f"{name}: no PriorityClass {spec.get('priorityClassName')}"
        volumes = {volume["name"] for volume in spec.get("volumes", ())}
        for volume in spec.get("volumes", ()):
            if "configMap" in volume and (namespace, volume["configMap"]["name"]) not in maps:
                yield f"{name}: no ConfigMap {volume['configMap']['name']}"
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                if ("PersistentVolumeClaim", namespace, claim) not in there:
                    yield f"{name}: no PersistentVolumeClaim {claim}"
        claims = {
            claim["metadata"]["name"]
            for each in kinds(resources, "StatefulSet")
            if label(each) == name
            for claim in each["spec"].get("volumeClaimTemplates", ())
        }
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            own = f"{name}[{container['name']}]"
            for mount in container.get("volumeMounts", ()):
                if mount["name"] not in volumes | claims:
                    yield f"{own}: no volume {mount['name']}"
            for source in container.get("envFrom", ()):
                if (namespace, source["configMapRef"]["name"]) not in maps:
                    yield f"{own}: no ConfigMap {source['configMapRef']['name']}"
            for variable in container.get("env", ()):
                source = variable.get("valueFrom", {})
                if "secretKeyRef" in source:
                    reference = source["secretKeyRef"]
                    if reference["key"] not in secrets.get((namespace, reference["name"]), ()):
                        yield f"{own}: k8s/secrets has no {reference['name']} with {reference['key']} in {namespace}"
                if "configMapKeyRef" in source:
                    reference = source["configMapKeyRef"]
                    place = (namespace, reference["name"])
                    if reference["key"] not in maps.get(place, ()) and place not in _GIVEN_CONFIG_MAPS:
                        yield f"{own}: no {reference['key']} in a ConfigMap {reference['name']}"


def variables(resources: list[Resource]) -> Iterator[str]:
    """A ``$(NAME)`` in a command is a variable of the container; otherwise Kubernetes passes it on as it stands."""
    maps = {
        (each["metadata"]["namespace"], each["metadata"]["name"]): set(each.get("data", {}))
        for each in kinds(resources, "ConfigMap")
    }
    for name, namespace, _, spec in pods(resources):
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            known = {variable["name"] for variable in container.get("env", ())}
            for source in container.get("envFrom", ()):
                known |= maps.get((namespace, source["configMapRef"]["name"]), set())
            for word in (*container.get("command", ()), *container.get("args", ())):
                for used in re.findall(r"\$\((\w+)\)", word):
                    if used not in known:
                        yield f"{name}[{container['name']}]: {word!r} uses {used}, which is not set"


def images(resources: list[Resource]) -> Iterator[str]:
    """Every image has a tag or a digest, and none of them moves by itself to another major version."""
    for name, _, container in containers(resources):
        last = container["image"].rpartition("/")[2]
        if not re.search(r":[\w][\w.-]*$|@sha256:[0-9a-f]{64}$", last) or last.endswith(":latest"):
            yield f"{name}: the image {container['image']} is not pinned"


def settled(resources: list[Resource]) -> Iterator[str]:
    """Every placeholder of the bases was replaced by a setting of the overlay."""
    for each in resources:
        for path, value in _walk(each):
            if "from-the-overlay" in str(value) or "192.0.2." in str(value):
                yield f"{label(each)}: {'.'.join(path)} is still {value!r}"


def namespaces(resources: list[Resource]) -> Iterator[str]:
    """Namespaces of ours hold pods to the strictest Pod Security level."""
    for each in kinds(resources, "Namespace"):
        labels = each["metadata"].get("labels", {})
        for mode in ("enforce", "audit", "warn"):
            if labels.get(f"pod-security.kubernetes.io/{mode}") != "restricted":
                yield f"{label(each)}: pod-security {mode} is not restricted"


def identities(resources: list[Resource]) -> Iterator[str]:
    """Steps and MLflow have different identities in the cloud: what one may read, the other need not."""
    seen: dict[str, str] = {}
    for each in kinds(resources, "ServiceAccount"):
        for key, value in each["metadata"].get("annotations", {}).items():
            if key in _IDENTITIES and seen.setdefault(value, label(each)) != label(each):
                yield f"{label(each)}: shares {value} with {seen[value]}"


def tracking(resources: list[Resource]) -> Iterator[str]:
    """Where the steps look for MLflow is a Service, and a Host header that MLflow answers to."""
    maps = {
        re.sub(r"-[a-z0-9]{10}$", "", each["metadata"]["name"]): each["data"] for each in kinds(resources, "ConfigMap")
    }
    uri = urlsplit(maps["flprivacy-settings"]["MLFLOW_TRACKING_URI"])
    if uri.netloc not in maps["mlflow-settings"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(","):
        yield f"MLflow would answer 403 to {uri.netloc}"
    services = {
        f"{each['metadata']['name']}.{each['metadata']['namespace']}.svc:{port['port']}"
        for each in kinds(resources, "Service")
        for port in each["spec"]["ports"]
    }
    if uri.netloc not in services:
        yield f"no Service is {uri.netloc}"


CHECKS: dict[str, Callable[[list[Resource]], Iterator[str]]] = {
    check.__name__: check
    for check in (
        selectors,
        ports,
        probes,
        bounded,
        locked_down,
        tokens,
        roles,
        quantities,
        schedules,
        no_secret_values,
        references,
        variables,
        images,
        settled,
        namespaces,
        identities,
        tracking,
    )
}
