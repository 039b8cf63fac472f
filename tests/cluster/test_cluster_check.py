"""``flprivacy cluster check``: each misfit of an installation is found by name, and none in one that fits."""

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from flprivacy.cli import main
from flprivacy.cluster.fit import installation, probe, room
from flprivacy.cluster.fit.looked_at import FITS, MEND, NOTE, UNREAD, Asked, Line, look
from flprivacy.cluster.kubectl import Kubectl
from tests.cluster.fitting_installation import FittingCluster, config, deployment, node

ASKED = Asked(
    namespace="kubeflow",
    kfp_namespace="kubeflow",
    account="flprivacy-steps",
    images=(f"registry/audit:1@sha256:{'0' * 64}", f"registry/train:1@sha256:{'1' * 64}"),
    train_gpus="1",
    train_nodes={},
    train_tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    train_cpu="4",
    train_memory="16Gi",
    work_cpu="2",
    work_memory="8Gi",
)
Change = Callable[[FittingCluster], object]


def looked(cluster: FittingCluster, asked: Asked = ASKED) -> list[Line]:
    return list(look(installation.CHECKS | room.CHECKS, cluster, asked))


def test_nothing_is_found_in_an_installation_that_fits() -> None:
    lines = looked(FittingCluster())
    assert [line for line in lines if line.state != FITS] == []
    assert {"Kubeflow", "account", "rights", "settings", "network", "nodes", "GPU pool", "quotas"} <= {
        line.subject for line in lines
    }


def _set(kind: str, name: str, key: str, value: str) -> Change:
    return lambda cluster: cluster.the(kind, name)["data"].update({key: value})


def _replace(*new: dict) -> Change:
    def change(cluster: FittingCluster) -> None:
        for one in new:
            cluster.drop(one["kind"], one["metadata"]["name"])
            cluster.objects.append(one)

    return change


_PLUGIN = {"plugins": {"mlflow": {"settings": {"injectUserEnvVars": True}}}}
_QUOTA = {"kind": "ResourceQuota", "metadata": {"name": "team", "namespace": "kubeflow"}}
_LIMITS = {"kind": "LimitRange", "metadata": {"name": "small", "namespace": "kubeflow"}}
_ALWAYS = '{"templateDefaults":{"retryStrategy":{"retryPolicy":"Always"}}}'
MISFITS: dict[str, tuple[Change, str, str, str]] = {
    "an older Kubeflow": (
        _replace(deployment("ml-pipeline", "ghcr.io/kubeflow/kfp-api-server:2.14.3")),
        "Kubeflow",
        MEND,
        "2.14 is older than 2.17",
    ),
    "no Kubeflow there": (lambda c: c.drop("Deployment", "ml-pipeline"), "Kubeflow", MEND, "--kfp-namespace"),
    "no service account": (lambda c: c.drop("ServiceAccount", "flprivacy-steps"), "account", MEND, "steps-namespace"),
    "an account without rights": (lambda c: c.rights.clear(), "rights", MEND, "create workflowtaskresults"),
    "an account with too many": (lambda c: c.rights.add("list secrets"), "rights", MEND, "every Secret"),
    "the launcher's other Secret": (
        _set("ConfigMap", "kfp-launcher", "providers", 's3:\n  secretRef:\n    secretName: "ceph-key"'),
        "rights",
        MEND,
        "get secrets/ceph-key",
    ),
    "no settings": (lambda c: c.drop("ConfigMap", "flprivacy-settings"), "settings", MEND, "no ConfigMap"),
    "a store with a blank": (
        _set("ConfigMap", "flprivacy-settings", "FLPRIVACY_STORE", "s3://data/store "),
        "settings",
        MEND,
        "'s3://data/store '",
    ),
    "a store of the example": (
        _set("ConfigMap", "flprivacy-settings", "FLPRIVACY_STORE", "from-the-overlay"),
        "settings",
        MEND,
        "from-the-overlay",
    ),
    "no Secret of the store": (
        lambda c: c.secrets.pop("flprivacy-object-store"),
        "secret flprivacy-object-store",
        MEND,
        "absent",
    ),
    "a Secret without a key": (
        lambda c: c.secrets["flprivacy-mlflow"].discard("MLFLOW_TRACKING_PASSWORD"),
        "secret flprivacy-mlflow",
        MEND,
        "lacks MLFLOW_TRACKING_PASSWORD",
    ),
    "a network of the example": (
        lambda c: c.the("NetworkPolicy", "flprivacy-steps-object-store")["spec"].update(
            {"egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}]}]}
        ),
        "network",
        MEND,
        "flprivacy-steps-object-store",
    ),
    "the plugin's variables": (
        _set("ConfigMap", "kfp-api-server-config", "config.json", json.dumps(_PLUGIN)),
        "MLflow plugin",
        MEND,
        "injectUserEnvVars",
    ),
    "everything tried again": (
        _replace(deployment("ml-pipeline", "kfp:2.17.0", COMPILED_PIPELINE_SPEC_PATCH=_ALWAYS)),
        "retries",
        NOTE,
        "attempts multiply",
    ),
    "pods gone after a day": (
        _replace(deployment("ml-pipeline-persistenceagent", "agent:2.17.0")),
        "time to live",
        NOTE,
        "24 h",
    ),
    "schedules elsewhere": (
        _replace(config("pipeline-install-config", cronScheduleTimezone="Asia/Tokyo")),
        "schedules",
        NOTE,
        "--cluster-timezone Asia/Tokyo",
    ),
    "drivers with nowhere to go": (_replace(node("small", taint="team")), "nodes", MEND, "free of taints"),
    "nodes that are too small": (_replace(node("small", memory="6Gi")), "nodes", MEND, "6.0 GiB"),
    "user namespaces on old nodes": (
        lambda c: (
            _replace(deployment("ml-pipeline", "kfp:2.17.0", DEFAULT_SECURITY_CONTEXT_HOST_USERS="false"))(c),
            c.the("Node", "small")["status"]["nodeInfo"].update(kubeletVersion="v1.29.4-eks-1"),
        ),
        "user namespaces",
        NOTE,
        "small may not offer",
    ),
    "a taint that keeps the steps off": (
        _replace(node("cards", gpus="1", pool="gpu", taint="research")),
        "GPU pool",
        MEND,
        "taint research",
    ),
    "a card beside too little memory": (
        _replace(node("cards", gpus="1", pool="gpu", taint="nvidia.com/gpu", memory="15Gi")),
        "GPU pool",
        MEND,
        "15.0 GiB, 1 GPUs",
    ),
    "a GPU node without its label": (
        _replace(node("cards", gpus="1", taint="nvidia.com/gpu")),
        "GPU pool",
        NOTE,
        "kubectl label node cards",
    ),
    "a GPU node without its taint": (
        _replace(node("cards", gpus="1", pool="gpu")),
        "GPU pool",
        NOTE,
        "kubectl taint node cards",
    ),
    "no GPU at all": (lambda c: c.drop("Node", "cards"), "GPU pool", NOTE, "train_gpus=0"),
    "a quota smaller than a step": (
        lambda c: c.objects.append({**_QUOTA, "spec": {"hard": {"limits.memory": "8Gi"}}}),
        "quotas",
        MEND,
        "team allows limits.memory 8Gi",
    ),
    "no GPUs in the quota": (
        lambda c: c.the("ResourceQuota", "flprivacy-gpus")["spec"]["hard"].update({"requests.nvidia.com/gpu": "0"}),
        "quotas",
        MEND,
        "flprivacy-gpus allows requests.nvidia.com/gpu 0",
    ),
    "a limit smaller than a step": (
        lambda c: c.objects.append({**_LIMITS, "spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}}),
        "quotas",
        MEND,
        "small allows cpu 2",
    ),
    "nodes that this user may not read": (lambda c: setattr(c, "unread", "node"), "nodes", UNREAD, "forbidden"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_misfit_is_found_by_name_and_nothing_else_is(name: str) -> None:
    change, subject, state, words = MISFITS[name]
    cluster = FittingCluster()
    change(cluster)
    wrong = [line for line in looked(cluster) if line.state != FITS]
    found = [line for line in wrong if line.subject == subject and line.state == state]
    assert found
    assert words in found[0].text
    also = {"nodes", "GPU pool"} if subject == "nodes" else {subject}
    dependent = {"Kubeflow", "rights"} if name == "no Kubeflow there" else also
    assert {line.subject for line in wrong} <= dependent


def test_an_identity_of_the_cloud_needs_no_key() -> None:
    cluster = FittingCluster()
    cluster.secrets.pop("flprivacy-object-store")
    account = cluster.the("ServiceAccount", "flprivacy-steps")["metadata"]
    account["annotations"] = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/steps"}
    assert all(line.state == FITS for line in looked(cluster))


def test_training_without_a_gpu_needs_room_elsewhere() -> None:
    without = replace(ASKED, train_gpus="0")
    assert all(line.state == FITS for line in looked(FittingCluster(), without))
    large = replace(without, train_memory="64Gi")
    assert [line.subject for line in looked(FittingCluster(), large) if line.state == MEND] == ["GPU pool"]


def test_images_without_a_digest_are_told() -> None:
    line = next(one for one in looked(FittingCluster(), replace(ASKED, images=("audit:1",))) if one.subject == "images")
    assert line.state == NOTE
    assert "old image" in line.text


def test_the_pod_is_like_a_step_and_is_deleted() -> None:
    cluster = FittingCluster()
    cluster.log = 'a warning\n{"subject": "store", "state": "mend", "text": "s3://b/x: refused"}\n'
    lines = list(probe.probe(cluster, ASKED, "registry/audit:1"))
    assert [(line.subject, line.state) for line in lines] == [("pod", FITS), ("store", MEND)]
    made = json.loads(cluster.calls[0][-1])
    assert made["spec"]["serviceAccountName"] == "flprivacy-steps"
    assert made["metadata"]["labels"]["app.kubernetes.io/part-of"] == "flprivacy"
    assert "Secret" not in cluster.calls[0][-1].replace("secretRef", "")
    assert cluster.calls[-1][:3] == ("delete", "pod", made["metadata"]["name"])


def test_an_image_that_cannot_be_pulled_is_told_and_the_pod_deleted() -> None:
    cluster = FittingCluster()
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "pull access denied"}}
    cluster.pod = {"status": {"phase": "Pending", "containerStatuses": [{"state": state}]}}
    (line,) = probe.probe(cluster, ASKED, "registry/audit:1")
    assert (line.subject, line.state) == ("pod", MEND)
    assert "ImagePullBackOff: pull access denied" in line.text
    assert cluster.calls[-1][0] == "delete"


def test_a_pod_that_no_node_takes_is_given_up_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_EVERY_SECONDS", 0.01)
    cluster = FittingCluster()
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
    cluster.pod = {"status": {"phase": "Pending", "conditions": [condition]}}
    (line,) = probe.probe(cluster, ASKED, "registry/audit:1", seconds=0.05)
    assert line.state == MEND
    assert "Unschedulable: 0/2 nodes" in line.text


def test_within_a_pod_store_and_mlflow_are_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLPRIVACY_STORE", str(tmp_path))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    found = {line.subject: line for line in probe.within()}
    assert (found["store"].state, found["MLflow"].state) == (MEND, MEND)
    assert "set it in the overlay's settings" in found["store"].text
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert {line.subject: line for line in probe.within()}["MLflow"].state == FITS


_PROGRAM = """#!/bin/sh
case "$*" in
  *"auth can-i"*) echo no; exit 1 ;;
  *"secret "*) printf 'AWS_ACCESS_KEY_ID\\n.' ;;
  *"get nodes"*|*"get networkpolicies"*|*"get resourcequotas"*|*"get limitranges"*) echo '{"items": []}' ;;
  *"serviceaccount"*) echo '{"metadata": {"name": "flprivacy-steps"}}' ;;
  *"configmap kfp-launcher"*) ;;
  *) echo "Error: forbidden" >&2; exit 1 ;;
esac
"""


def test_the_command_asks_kubectl_and_ends_with_what_must_be_mended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "kubectl"
    program.write_text(_PROGRAM)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert Kubectl().keys("flprivacy-object-store", "kubeflow") == {"AWS_ACCESS_KEY_ID"}
    result = CliRunner().invoke(main, ["cluster", "check", "--no-pod", "--param", "train_gpus=0"])
    assert result.exit_code == 2, result.output
    assert "? Kubeflow: kubectl: Error: forbidden" in result.output
    assert "✗ rights: flprivacy-steps may not create workflowtaskresults.argoproj.io" in result.output
    assert "✗ secret flprivacy-object-store: lacks AWS_SECRET_ACCESS_KEY" in result.output
    assert "must be mended (✗) before a run can succeed; 6 could not be looked at" in result.output
    assert "Traceback" not in result.output


def test_a_wrong_parameter_is_refused_before_anything_is_asked() -> None:
    result = CliRunner().invoke(main, ["cluster", "check", "--param", "train_memory=16 Gi"])
    assert result.exit_code == 2
    assert "train_memory is '16 Gi'" in result.output
