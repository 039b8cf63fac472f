"""Every check holds in every build; and every check finds what it is there to find."""

import copy
import json
import re
from collections.abc import Callable, Iterator

import pytest
import yaml

from tests.k8s.builds import BUILDS, K8S, Resource, build
from tests.k8s.checks import CHECKS, secret_templates


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("check", CHECKS)
def test_holds(check: str, name: str) -> None:
    assert list(CHECKS[check](build(name))) == []


def _one(resources: list[Resource], kind: str, name: str) -> Resource:
    """Return a resource; a generated ConfigMap by its name without the digest."""
    (found,) = [
        each
        for each in resources
        if each["kind"] == kind and re.sub(r"-[a-z0-9]{10}$", "", each["metadata"]["name"]) == name
    ]
    return found


def _pod(resources: list[Resource], kind: str, name: str) -> Resource:
    spec = _one(resources, kind, name)["spec"]
    spec = spec["jobTemplate"]["spec"] if kind == "CronJob" else spec
    return spec["template"]["spec"]  # type: ignore[no-any-return]


def _server(resources: list[Resource]) -> Resource:
    return _pod(resources, "Deployment", "mlflow")["containers"][0]  # type: ignore[no-any-return]


def _drop(resources: list[Resource], kind: str, name: str) -> None:
    resources.remove(_one(resources, kind, name))


# What is broken, by the check that has to notice, with a piece of its message.
BROKEN: list[tuple[str, str, Callable[[list[Resource]], object]]] = [
    (
        "selectors",
        "Service/flprivacy/mlflow: selects no pod",
        lambda r: _one(r, "Service", "mlflow")["spec"].update(selector={"app.kubernetes.io/name": "mlfow"}),
    ),
    (
        "selectors",
        "does not select its own pods",
        lambda r: _one(r, "Deployment", "mlflow")["spec"]["selector"]["matchLabels"].update(extra="label"),
    ),
    (
        "selectors",
        "PodDisruptionBudget/kubeflow/mlflow: selects no pod",
        lambda r: _one(r, "PodDisruptionBudget", "mlflow")["metadata"].update(namespace="kubeflow"),
    ),
    (
        "selectors",
        "no headless Service",
        lambda r: _one(r, "StatefulSet", "mlflow-database")["spec"].update(serviceName="database"),
    ),
    ("ports", "leads to http", lambda r: _server(r)["ports"][0].update(name="web")),
    ("ports", "livenessProbe asks port 5001", lambda r: _server(r)["livenessProbe"]["httpGet"].update(port=5001)),
    ("probes", "no startupProbe", lambda r: _server(r).pop("startupProbe")),
    ("bounded", "no limits for memory", lambda r: _server(r)["resources"]["limits"].pop("memory")),
    (
        "bounded",
        "no requests for cpu",
        lambda r: _pod(r, "CronJob", "mlflow-backup")["initContainers"][0]["resources"]["requests"].pop("cpu"),
    ),
    (
        "bounded",
        "no sizeLimit",
        lambda r: _pod(r, "StatefulSet", "mlflow-database")["volumes"][1]["emptyDir"].pop("sizeLimit"),
    ),
    (
        "locked_down",
        "may run as root",
        lambda r: _pod(r, "CronJob", "mlflow-restore")["securityContext"].pop("runAsNonRoot"),
    ),
    (
        "locked_down",
        "may run as root",
        lambda r: _pod(r, "Deployment", "mlflow")["securityContext"].update(runAsUser=0),
    ),
    ("locked_down", "root file system", lambda r: _server(r)["securityContext"].update(readOnlyRootFilesystem=False)),
    (
        "locked_down",
        "has capabilities",
        lambda r: _server(r)["securityContext"].update(capabilities={"drop": ["NET_RAW"]}),
    ),
    ("locked_down", "gain privileges", lambda r: _server(r)["securityContext"].pop("allowPrivilegeEscalation")),
    (
        "locked_down",
        "seccomp",
        lambda r: _pod(r, "StatefulSet", "mlflow-database")["securityContext"].pop("seccompProfile"),
    ),
    ("tokens", "mounts a token", lambda r: _pod(r, "Deployment", "mlflow").pop("automountServiceAccountToken")),
    (
        "tokens",
        "has to be true",
        lambda r: _one(r, "ServiceAccount", "flprivacy-steps").update(automountServiceAccountToken=False),
    ),
    (
        "tokens",
        "has to be false",
        lambda r: _one(r, "ServiceAccount", "mlflow-database").pop("automountServiceAccountToken"),
    ),
    ("roles", "a wildcard", lambda r: _one(r, "Role", "flprivacy-steps")["rules"][2].update(verbs=["*"])),
    ("roles", "one by one", lambda r: _one(r, "Role", "flprivacy-steps")["rules"][1].pop("resourceNames")),
    (
        "roles",
        "no ServiceAccount",
        lambda r: _one(r, "RoleBinding", "flprivacy-steps")["subjects"][0].update(namespace="default"),
    ),
    ("quantities", "no quantity", lambda r: _server(r)["resources"]["limits"].update(memory="2GB")),
    ("quantities", "asks for 3Gi memory", lambda r: _server(r)["resources"]["requests"].update(memory="3Gi")),
    (
        "quantities",
        "no quantity",
        lambda r: _one(r, "ResourceQuota", "flprivacy-gpus")["spec"]["hard"].update(
            {"requests.nvidia.com/gpu": "four"}
        ),
    ),
    (
        "schedules",
        "outside 0 to 59",
        lambda r: _one(r, "CronJob", "mlflow-backup")["spec"].update(schedule="60 2 * * *"),
    ),
    ("schedules", "5 fields", lambda r: _one(r, "CronJob", "mlflow-backup")["spec"].update(schedule="0 17 2 * * *")),
    ("schedules", "no time zone", lambda r: _one(r, "CronJob", "mlflow-backup")["spec"].pop("timeZone")),
    ("schedules", "overlap", lambda r: _one(r, "CronJob", "mlflow-backup")["spec"].pop("concurrencyPolicy")),
    (
        "no_secret_values",
        "overwrite",
        lambda r: r.append({"kind": "Secret", "metadata": {"name": "mlflow-server", "namespace": "flprivacy"}}),
    ),
    (
        "no_secret_values",
        "has its value in the manifest",
        lambda r: _server(r)["env"].append({"name": "MLFLOW_TRACKING_PASSWORD", "value": "hunter2"}),
    ),
    (
        "no_secret_values",
        "belongs into a Secret",
        lambda r: _one(r, "ConfigMap", "flprivacy-settings")["data"].update(AWS_SECRET_ACCESS_KEY="x"),
    ),
    (
        "no_secret_values",
        "credentials in",
        lambda r: _one(r, "ConfigMap", "mlflow-settings")["data"].update(URI="postgresql://mlflow:pw@db/mlflow"),
    ),
    (
        "references",
        "no ServiceAccount mlflw",
        lambda r: _pod(r, "Deployment", "mlflow").update(serviceAccountName="mlflw"),
    ),
    ("references", "no PriorityClass", lambda r: _drop(r, "PriorityClass", "flprivacy-service")),
    ("references", "no ConfigMap mlflow-files", lambda r: _drop(r, "ConfigMap", "mlflow-files")),
    (
        "references",
        "k8s/secrets has no mlflow-server with KEY",
        lambda r: _server(r)["env"].append(
            {"name": "X", "valueFrom": {"secretKeyRef": {"name": "mlflow-server", "key": "KEY"}}}
        ),
    ),
    (
        "references",
        "no volume cache",
        lambda r: _server(r)["volumeMounts"].append({"name": "cache", "mountPath": "/c"}),
    ),
    (
        "references",
        "no PersistentVolumeClaim",
        lambda r: _pod(r, "Deployment", "mlflow")["volumes"].append(
            {"name": "v", "persistentVolumeClaim": {"claimName": "v"}}
        ),
    ),
    (
        "variables",
        "ARTIFACTS",
        lambda r: _one(r, "ConfigMap", "mlflow-settings")["data"].pop("MLFLOW_ARTIFACTS_DESTINATION"),
    ),
    ("images", "not pinned", lambda r: _server(r).update(image="flprivacy/mlflow")),
    ("images", "not pinned", lambda r: _server(r).update(image="registry:5000/mlflow:latest")),
    (
        "settled",
        "from-the-overlay",
        lambda r: _one(r, "ConfigMap", "flprivacy-settings")["data"].update(FLPRIVACY_STORE="from-the-overlay"),
    ),
    (
        "namespaces",
        "enforce",
        lambda r: _one(r, "Namespace", "flprivacy")["metadata"]["labels"].update(
            {"pod-security.kubernetes.io/enforce": "baseline"}
        ),
    ),
    (
        "tracking",
        "403 to mlflow.flprivacy.svc:5000",
        lambda r: _one(r, "ConfigMap", "mlflow-settings")["data"].update(
            MLFLOW_SERVER_ALLOWED_HOSTS="mlflow.flprivacy.svc,localhost:5000"
        ),
    ),
    (
        "tracking",
        "no Service is",
        lambda r: _one(r, "Service", "mlflow")["spec"]["ports"][0].update(port=80),
    ),
    (
        "identities",
        "shares",
        lambda r: _one(r, "ServiceAccount", "flprivacy-steps")["metadata"]["annotations"].update(
            {"iam.gke.io/gcp-service-account": "flprivacy-mlflow@PROJECT.iam.gserviceaccount.com"}
        ),
    ),
]


@pytest.mark.parametrize(("check", "message", "damage"), BROKEN, ids=[f"{b[0]}-{n}" for n, b in enumerate(BROKEN)])
def test_finds(check: str, message: str, damage: Callable[[list[Resource]], object]) -> None:
    resources = copy.deepcopy(build("gke"))
    damage(resources)
    found = list(CHECKS[check](resources))
    assert any(message in fault for fault in found), found


def test_every_check_was_seen_to_fail() -> None:
    assert {check for check, _, _ in BROKEN} == set(CHECKS)


def test_templates_of_secrets_hold_no_values() -> None:
    for file in (K8S / "secrets").glob("*.yaml"):
        for each in yaml.safe_load_all(file.read_text()):
            assert each["kind"] == "Secret"
            assert set(each) == {"apiVersion", "kind", "metadata", "stringData"}
            assert set(each["stringData"].values()) == {""}


def test_the_settings_of_kfps_plugin_are_known_to_it() -> None:
    """Field names of PluginConfig and MLflowPluginSettings, KFP 2.17.0, backend/src/common/plugins/mlflow/config.go."""
    plugin = json.loads((K8S / "components/kfp-mlflow-plugin/mlflow.json").read_text())
    assert set(plugin) <= {"endpoint", "timeout", "tls", "settings"}
    settings = plugin["settings"]
    assert set(settings) <= {
        "authType",
        "credentialSecretRef",
        "defaultExperimentName",
        "experimentDescription",
        "injectUserEnvVars",
        "workspacesEnabled",
    }
    assert settings["authType"] == "basic-auth"
    assert not settings["injectUserEnvVars"]  # it would set variables that the steps have: no pod would be accepted
    reference = settings["credentialSecretRef"]
    assert set(reference.values()) == secret_templates()["steps", "kfp-mlflow-credentials"]
    assert plugin["endpoint"] == _one(build("gke"), "ConfigMap", "flprivacy-settings")["data"]["MLFLOW_TRACKING_URI"]


def _executors() -> Iterator[Resource]:
    """Yield the Kubernetes settings of every step of the compiled pipelines."""
    for file in (K8S.parent / "pipelines" / "compiled").glob("*.yaml"):
        for document in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader):
            platform = document.get("platforms", {}).get("kubernetes", {})
            yield from platform.get("deploymentSpec", {}).get("executors", {}).values()


def test_what_the_pipelines_refer_to_is_here() -> None:
    """Secrets, ConfigMaps and queues that the compiled pipelines name exist under these names."""
    templates = {name: keys for (place, name), keys in secret_templates().items() if place == "steps"}
    queues = {each["metadata"]["name"] for each in build("gke, everything on") if each["kind"] == "LocalQueue"}
    steps = list(_executors())
    assert steps
    for step in steps:
        for each in step.get("secretAsVolume", ()):
            assert all(key.isupper() for key in templates[each["secretName"]])  # each becomes a variable
        assert {each["configMapName"] for each in step["configMapAsVolume"]} == {"flprivacy-settings"}
        labels = step["podMetadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "flprivacy"  # or no NetworkPolicy takes the pod
        assert labels.get("kueue.x-k8s.io/queue-name", "flprivacy-cpu") in queues
