"""Every build is valid Kubernetes for the three newest versions, and our custom resources fit their CRDs."""

import copy
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import all_versions

from tests.k8s.builds import BUILDS, K8S, NODE_POOL, build, fresh, label
from tests.services.kustomize import have_kustomize, kustomize

SCHEMAS = Path(__file__).with_name("schemas")
NEWEST = sorted(set(all_versions()), key=lambda version: [int(number) for number in version.split(".")])[-3:]
CUSTOM = {"ClusterQueue", "LocalQueue", "ResourceFlavor", "ContainerNodePool", "ClusterConfig"}


needs_kustomize = pytest.mark.skipif(not have_kustomize(), reason="no kustomize 5 or kubectl 1.27 on this machine")


@cache
def _validator(kind: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{kind}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def custom_faults(resource: dict[str, Any]) -> list[str]:
    """Return where a custom resource departs from its CRD's schema."""
    return [
        f"{label(resource)}: {'.'.join(map(str, error.absolute_path))}: {error.message}"
        for error in _validator(resource["kind"]).iter_errors(resource)
    ]


def _files() -> list[dict[str, Any]]:
    """Return the node pools, which are applied by themselves."""
    group = yaml.safe_load((K8S / "overlays/eks/node-group.yaml").read_text())
    return [*build(NODE_POOL), group]


def test_the_three_newest_versions_are_three() -> None:
    assert len(NEWEST) == 3
    assert [int(version.split(".")[1]) for version in NEWEST] == [35, 36, 37]  # raise with kubernetes-validate


@pytest.mark.parametrize("version", NEWEST)
def test_every_resource_is_valid_kubernetes(version: str) -> None:
    seen = set()
    for name in BUILDS:
        for resource in build(name):
            text = json.dumps(resource, sort_keys=True)
            if resource["kind"] not in CUSTOM and text not in seen:
                kubernetes_validate.validate(resource, version, strict=True)
                seen.add(text)
    assert len(seen) > 60


def test_strict_validation_finds_an_unknown_field() -> None:
    (server,) = [each for each in copy.deepcopy(build("gke")) if each["kind"] == "Deployment"]
    server["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFilesystem"] = True  # belongs into securityContext
    with pytest.raises(kubernetes_validate.ValidationError, match="readOnlyRootFilesystem"):
        kubernetes_validate.validate(server, NEWEST[-1], strict=True)


def test_custom_resources_fit_their_schemas() -> None:
    found = [each for name in BUILDS for each in build(name) if each["kind"] in CUSTOM] + _files()
    assert {each["kind"] for each in found} == CUSTOM
    assert [fault for each in found for fault in custom_faults(each)] == []


def test_custom_schemas_find_faults() -> None:
    pool, group = copy.deepcopy(_files())
    pool["spec"]["nodeConfig"]["guestAccelerator"][0]["gpuDriverInstallationConfig"] = [{"gpuDriverVersion": "DEFAULT"}]
    group["managedNodeGroups"][0]["minSise"] = 0
    (queue,) = [each for each in copy.deepcopy(build("gke, everything on")) if each["kind"] == "ClusterQueue"]
    queue["spec"]["queueingStrategy"] = "Fair"
    del queue["spec"]["resourceGroups"][0]["flavors"][0]["resources"][0]["nominalQuota"]
    assert "gpuDriverInstallationConfig" in custom_faults(pool)[0]
    assert "minSise" in str(custom_faults(group))
    assert len(custom_faults(queue)) == 2


@needs_kustomize
@pytest.mark.parametrize("name", [*BUILDS, NODE_POOL])
def test_the_committed_builds_are_what_kustomize_makes(name: str) -> None:
    assert fresh(name) == build(name), "run python -m tests.k8s.builds"


@needs_kustomize
@pytest.mark.parametrize("missing", ["endpoint", "object-store-cidr", "mlflow-hosts", "steps-namespace"])
def test_a_build_without_a_setting_stops_and_names_it(missing: str, tmp_path: Path) -> None:
    overlay = shutil.copytree(K8S, tmp_path / "k8s") / "overlays" / "standalone"
    settings = yaml.safe_load((overlay / "settings.yaml").read_text())
    del settings["data"][missing]
    (overlay / "settings.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(RuntimeError, match=missing):
        kustomize(overlay)
