"""Kubeflow Pipelines itself, and what the overlay brings: account, settings, Secrets, network, images."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flprivacy.cluster.fit.looked_at import FITS, MEND, NOTE, Asked, Check, Kubernetes, Line, containers, variable

_VERSION = re.compile(r":v?(\d+)\.(\d+)")
_SUPPORTED = (2, 17)
_APPLY = "apply the overlay (docs/operations.md, step 4), whose setting steps-namespace names this namespace"
_IDENTITIES = ("eks.amazonaws.com/role-arn", "iam.gke.io/gcp-service-account")
_UNSET = "192.0.2.1/32"  # stands in the base for a network that the overlay's settings name
_DAY = 24 * 3600
_KEPT_DAYS = 7
_SECRETS = {
    "flprivacy-object-store": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "flprivacy-mlflow": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
}


def _version(kubernetes: Kubernetes, asked: Asked) -> Iterator[Line]:
    image = _image(_deployment(kubernetes, asked, "ml-pipeline"))
    found = _VERSION.search(image)
    if not image:
        there = f"no deployment ml-pipeline in namespace {asked.kfp_namespace}"
        yield Line("Kubeflow", MEND, f"{there}; install Kubeflow Pipelines, or name its --kfp-namespace")
    elif found is None:
        yield Line("Kubeflow", NOTE, f"{image} names no version; the pipelines are made for 2.17")
    elif (int(found[1]), int(found[2])) < _SUPPORTED:
        yield Line("Kubeflow", MEND, f"version {found[1]}.{found[2]} is older than 2.17; upgrade it")
    elif (int(found[1]), int(found[2])) > _SUPPORTED:
        yield Line("Kubeflow", NOTE, f"version {found[1]}.{found[2]} is newer than 2.17, with which this was tried")
    else:
        yield Line("Kubeflow", FITS, f"version {found[1]}.{found[2]}")


def _account(kubernetes: Kubernetes, asked: Asked) -> Iterator[Line]:
    where = f"namespace {asked.namespace}"
    if kubernetes.find("serviceaccount", asked.account, asked.namespace) is None:
        yield Line("account", MEND, f"there is no service account {asked.account} in {where}; {_APPLY}")
        return
    yield Line("account", FITS, f"{asked.account} in {where}")
    needed = [("create", "workflowtaskresults.argoproj.io"), ("get", "configmaps/kfp-launcher")]
    needed += [("get", f"secrets/{name}") for name in _artifact_secrets(kubernetes, asked)]
    lacking = [
        f"{verb} {what}"
        for verb, what in needed
        if not kubernetes.may(verb, what, account=asked.account, namespace=asked.namespace)
    ]
    if lacking:
        remedy = "add it to k8s/base/steps/role.yaml and apply the overlay"
        yield Line("rights", MEND, f"{asked.account} may not {' and not '.join(lacking)}, so no step can end; {remedy}")
    elif kubernetes.may("list", "secrets", account=asked.account, namespace=asked.namespace):
        text = f"{asked.account} may read every Secret of {where}; use the account that the overlay brings"
        yield Line("rights", MEND, text)
    else:
        yield Line("rights", FITS, "what the launcher and Argo need, and no more Secrets than that")


def _artifact_secrets(kubernetes: Kubernetes, asked: Asked) -> list[str]:
    """Return the Secrets with the keys of Kubeflow's own artifact store, which the launcher reads in each step."""
    launcher = kubernetes.find("configmap", "kfp-launcher", asked.namespace) or {}
    providers = str(launcher.get("data", {}).get("providers", ""))
    named = re.findall(r"secretName:\s*[\"']?([\w.-]+)", providers)
    return sorted(set(named)) if providers else ["mlpipeline-minio-artifact"]


def _settings(kubernetes: Kubernetes, asked: Asked) -> Iterator[Line]:
    settings = kubernetes.find("configmap", "flprivacy-settings", asked.namespace)
    if settings is None:
        yield Line("settings", MEND, f"there is no ConfigMap flprivacy-settings in {asked.namespace}; {_APPLY}")
        return
    data = settings.get("data", {})
    store, tracking = data.get("FLPRIVACY_STORE", ""), data.get("MLFLOW_TRACKING_URI", "")
    remedy = "set it in the overlay's settings.yaml and apply"
    if not store.startswith(("s3://", "gs://")) or store != store.strip():
        yield Line("settings", MEND, f"store is {store!r}, no s3:// or gs:// URI; {remedy}")
    if not tracking.startswith(("http://", "https://")) or tracking != tracking.strip():
        yield Line("settings", MEND, f"MLFLOW_TRACKING_URI is {tracking!r}, no address of a server; {remedy}")
    elif store.startswith(("s3://", "gs://")) and store == store.strip():
        yield Line("settings", FITS, f"store {store}, MLflow at {tracking}")


def _secrets(kubernetes: Kubernetes, asked: Asked) -> Iterator[Line]:
    account = kubernetes.find("serviceaccount", asked.account, asked.namespace) or {}
    identity = any(name in account.get("metadata", {}).get("annotations", {}) for name in _IDENTITIES)
    for name, needed in _SECRETS.items():
        keys = kubernetes.keys(name, asked.namespace)
        lacking = sorted(set(needed) - (keys or frozenset()))
        if name == "flprivacy-object-store" and identity and keys is None:
            yield Line(f"secret {name}", FITS, "not needed: the account has an identity of the cloud's")
        elif keys is None:
            remedy = "create it (docs/operations.md, step 3)"
            yield Line(f"secret {name}", MEND, f"absent in {asked.namespace}; {remedy}")
        elif lacking:
            yield Line(f"secret {name}", MEND, f"lacks {' and '.join(lacking)}; create it again with all its keys")
        else:
            yield Line(f"secret {name}", FITS, "has its keys")


def _network(kubernetes: Kubernetes, asked: Asked) -> Iterator[Line]:
    policies = kubernetes.every(
        "networkpolicies", "-l", "app.kubernetes.io/part-of=flprivacy", namespace=asked.namespace
    )
    unset = [one["metadata"]["name"] for one in policies if _UNSET in json.dumps(one)]
    if not policies:
        yield Line("network", MEND, f"no network policy closes the steps in {asked.namespace}; {_APPLY}")
    elif unset:
        text = f"{', '.join(unset)} still name the example's network; set it in the overlay's settings.yaml and apply"
        yield Line("network", MEND, text)
    else:
        yield Line("network", FITS, f"{len(policies)} policies")


def _images(_: Kubernetes, asked: Asked) -> Iterator[Line]:
    loose = [image for image in asked.images if "@sha256:" not in image]
    if loose:
        remedy = "push them with 'make images PUSH=1', then 'make compile'"
        text = (
            f"{', '.join(loose)} without a digest: after a rebuild, results of the old image are used again; {remedy}"
        )
        yield Line("images", NOTE, text)
    else:
        yield Line("images", FITS, f"{len(asked.images)}, by digest")


def _retries(kubernetes: Kubernetes, asked: Asked) -> Iterator[Line]:
    patch = variable(_deployment(kubernetes, asked, "ml-pipeline"), "COMPILED_PIPELINE_SPEC_PATCH")
    if '"Always"' in patch:
        text = "COMPILED_PIPELINE_SPEC_PATCH tries everything again: attempts multiply, verdicts are repeated, too"
        yield Line("retries", NOTE, f"{text} (docs/operations.md, 'Which failures are tried again')")
        return
    controller = kubernetes.find("configmap", "workflow-controller-configmap", asked.kfp_namespace) or {}
    policy = re.search(r"retryPolicy:\s*\"?(\w+)", str(controller.get("data", {}).get("workflowDefaults", "")))
    name = policy[1] if policy else "Argo's own"
    yield Line("retries", FITS, f"policy {name}: a lost pod is tried again, a step that ends with an error is not")


def _plugin(kubernetes: Kubernetes, asked: Asked) -> Iterator[Line]:
    found = kubernetes.find("configmap", "kfp-api-server-config", asked.kfp_namespace)
    if found is None:
        text = "as the API server's image has it: every start of a run tries a server of another distribution first"
        yield Line("MLflow plugin", NOTE, f"{text} (docs/operations.md, 'KFP's MLflow plugin')")
        return
    plugins = json.loads(found.get("data", {}).get("config.json", "{}")).get("plugins", {})
    settings = plugins.get("mlflow", {}).get("settings", {})
    if settings.get("injectUserEnvVars"):
        text = "injectUserEnvVars sets MLFLOW_* in every step, which then files where the plugin says; set it to false"
        yield Line("MLflow plugin", MEND, text)
    elif plugins and kubernetes.keys("kfp-mlflow-credentials", asked.namespace) is None:
        text = "its Secret kfp-mlflow-credentials is absent; create it (docs/operations.md, 'KFP's MLflow plugin')"
        yield Line("MLflow plugin", MEND, text)
    else:
        yield Line("MLflow plugin", FITS, "on, beside the steps' own logging" if plugins else "off")


def _kept(kubernetes: Kubernetes, asked: Asked) -> Iterator[Line]:
    agent = _deployment(kubernetes, asked, "ml-pipeline-persistenceagent")
    seconds = variable(agent, "TTL_SECONDS_AFTER_WORKFLOW_FINISH") or str(_DAY)
    if not seconds.isdigit() or int(seconds) < _KEPT_DAYS * _DAY:
        hours = f"{int(seconds) / 3600:g} h" if seconds.isdigit() else repr(seconds)
        text = (
            f"{hours} after its end a run's pods and their causes of failure are gone, whatever the pipeline asks for"
        )
        setting = "TTL_SECONDS_AFTER_WORKFLOW_FINISH of ml-pipeline-persistenceagent"
        yield Line("time to live", NOTE, f"{text}; raise {setting}")
    else:
        yield Line("time to live", FITS, f"{int(seconds) / _DAY:g} days")


def _time_zone(kubernetes: Kubernetes, asked: Asked) -> Iterator[Line]:
    found = kubernetes.find("configmap", "pipeline-install-config", asked.kfp_namespace) or {}
    zone = found.get("data", {}).get("cronScheduleTimezone", "UTC")
    if zone == "UTC":
        yield Line("schedules", FITS, "in UTC")
    else:
        yield Line("schedules", NOTE, f"in {zone}: give 'flprivacy schedule' --cluster-timezone {zone}")


def _deployment(kubernetes: Kubernetes, asked: Asked, name: str) -> Mapping[str, Any]:
    return kubernetes.find("deployment", name, asked.kfp_namespace) or {}


def _image(deployment: Mapping[str, Any]) -> str:
    return next((str(one["image"]) for one in containers(deployment)), "")


CHECKS: dict[str, Check] = {
    "Kubeflow": _version,
    "account": _account,
    "settings": _settings,
    "secrets": _secrets,
    "network": _network,
    "images": _images,
    "retries": _retries,
    "MLflow plugin": _plugin,
    "time to live": _kept,
    "schedules": _time_zone,
}
