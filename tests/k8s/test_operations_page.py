"""docs/operations.md names what there is: paths, settings, Secrets with their keys, workloads."""

import re

import pytest
import yaml

from tests.k8s.builds import BUILDS, K8S, OTHER_SETTINGS, OVERLAYS, build
from tests.k8s.checks import secret_templates
from tests.k8s.edges import TABLE

TEXT = TABLE.read_text(encoding="utf-8")
COMMANDS = "\n".join(re.findall(r"^```\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
KFP = {"deployment/ml-pipeline", "service/ml-pipeline-ui"}  # made by KFP's own install
MADE_BY_HAND = {"job/restore-1"}


def _settings() -> dict[str, set[str]]:
    """Return the settings of each overlay."""
    return {
        overlay: set(yaml.safe_load((K8S / "overlays" / overlay / "settings.yaml").read_text())["data"])
        for overlay in OVERLAYS
    }


def test_paths_exist() -> None:
    found = set(re.findall(r"\b(?:k8s|tests)/[\w./-]*[\w]", TEXT))
    assert len(found) > 10
    assert [path for path in found if not (K8S.parent / path).exists()] == []


def test_every_setting_is_explained_and_used() -> None:
    rows = re.findall(
        r"^\| ((?:`[a-z-]+`(?:, )?)+) \|", TEXT.partition("| Setting |")[2].partition("\n\n")[0], re.MULTILINE
    )
    explained = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)}
    used = set()
    for file in (K8S / "components").glob("*/kustomization.yaml"):
        for each in yaml.safe_load(file.read_text()).get("replacements", ()):
            used.add(each["source"]["fieldPath"].removeprefix("data."))
    assert explained == used == set.union(*_settings().values(), set(OTHER_SETTINGS))


def test_every_secret_has_a_command_with_its_keys() -> None:
    commands = {
        (namespace, name): set(re.findall(r"--from-literal=(\w+)=", rest))
        for namespace, name, rest in re.findall(r"kubectl -n (\S+) create secret generic (\S+)(.*)", COMMANDS)
    }
    expected = {
        ("kubeflow" if place == "steps" else place, name): keys for (place, name), keys in secret_templates().items()
    }
    assert commands == expected


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_workloads_in_commands_exist(overlay: str) -> None:
    long = {"deploy": "deployment"}
    there = {f"{each['kind'].lower()}/{each['metadata']['name']}" for each in build(overlay)}
    pairs = re.findall(r"\b(deployment|deploy|statefulset|cronjob|job|service)/([a-z][\w-]*)", COMMANDS)
    named = {f"{long.get(kind, kind)}/{name}" for kind, name in pairs}
    assert named - KFP - MADE_BY_HAND <= there
    assert {"cronjob/mlflow-backup", "cronjob/mlflow-restore", "deployment/mlflow"} <= named


def test_files_that_commands_run_are_mounted() -> None:
    scripts = set(re.findall(r"/etc/mlflow/(\w+\.\w+)", COMMANDS))
    assert {"user.py", "transfer.py"} <= scripts
    for name in BUILDS:
        (files,) = [each for each in build(name) if each["metadata"]["name"].startswith("mlflow-files")]
        assert scripts <= set(files["data"])
