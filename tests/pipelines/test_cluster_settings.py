"""The second document of every compiled pipeline: what each step asks of Kubernetes."""

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml

from flprivacy.execution.isolation import RETRIES
from flprivacy.execution.passing import Open
from flprivacy.execution.run_step import MOUNTED
from pipelines import COMPILED
from pipelines.cluster import ACCELERATOR, CLAIM_VARIABLE, GPU_TOLERATIONS, QUEUE_LABEL, QUEUES_VARIABLE, SECRETS

TRAINS = {
    "train-generator",
    "synthesize-cohort",
    "evaluate-generator",
    "synthesize",
    "train-target",
    "attack-target",
}
OPEN_ANYWAY = {"plan", "found", "report"}  # outputs that are declared Open, and so are inputs of that name
FINAL = {"check-policy", "check-dp-policy", "check-generator", "check-change"}
MLFLOW = {"log-mlflow", "report-audit", "resolve-inputs", "plan-audit", "find-targets", "compare-audits"}


@functools.cache
def _read(name: str) -> list[dict[str, Any]]:
    return list(yaml.load_all((COMPILED / f"{name}.yaml").read_text(), Loader=yaml.CSafeLoader))


@pytest.fixture(params=sorted(path.stem for path in COMPILED.glob("*.yaml")))
def documents(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """What one pipeline was compiled to; all tests look at the same objects."""
    return _read(request.param)


def _steps(documents: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Yield each step's name, task, container and Kubernetes settings."""
    spec, platform = documents
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for part in (spec["root"], *spec["components"].values()):
        for name, task in part.get("dag", {}).get("tasks", {}).items():
            component = spec["components"][task["componentRef"]["name"]]
            if "executorLabel" in component:
                label = component["executorLabel"]
                container = spec["deploymentSpec"]["executors"][label]["container"]
                yield name, task, container, settings.get(label, {})


def step_of(container: dict[str, Any]) -> str:
    return str(container["args"][0])


def test_every_step_has_settings(documents: list[dict[str, Any]]) -> None:
    found = {name: settings for name, _, _, settings in _steps(documents)}
    assert len(found) > 4
    assert all(found.values()), [name for name, settings in found.items() if not settings]


# A component begins by making a folder in /tmp, which a root file system that is read-only would not let it.
SCRATCH = {"mountPath": "/tmp", "sizeLimit": "64Gi", "volumeName": "scratch"}


def test_gpu_steps_and_no_others_go_to_the_gpu_pool(documents: list[dict[str, Any]]) -> None:
    seen = set()
    for name, _, container, settings in _steps(documents):
        accelerator = container["resources"].get("accelerator")
        assert settings["emptyDirMounts"] == [SCRATCH], name
        if name in TRAINS:
            seen.add(name)
            assert accelerator["resourceType"] == ACCELERATOR
            assert "train_gpus" in accelerator["resourceCount"]
            selector, (toleration,) = settings["nodeSelector"]["nodeSelectorJson"], settings["tolerations"]
            assert selector["componentInputParameter"].endswith("train_nodes")
            assert toleration["tolerationJson"]["componentInputParameter"].endswith("train_tolerations")
            assert settings["podMetadata"]["labels"]["flprivacy.io/pool"] == "gpu"
        else:
            assert accelerator is None, name
            assert not {"tolerations", "nodeSelector"} & set(settings), name
            (affinity,) = settings["nodeAffinity"]
            away = {"key": "flprivacy.io/pool", "operator": "NotIn", "values": ["gpu"]}
            assert affinity["matchExpressions"] == [away]
            assert settings["podMetadata"]["labels"]["flprivacy.io/pool"] == "cpu"
    assert seen


def test_the_number_of_gpus_is_a_text(documents: list[dict[str, Any]]) -> None:
    """The backend resolves resources as texts: a number would ask for no GPU, without a word."""
    parameters = documents[0]["root"]["inputDefinitions"]["parameters"]
    for name in ("train_gpus", "train_cpu", "train_memory", "work_cpu", "work_memory"):
        assert parameters[name]["parameterType"] == "STRING"
    assert parameters["train_gpus"]["defaultValue"] == "1"
    assert parameters["train_tolerations"]["defaultValue"] == GPU_TOLERATIONS


def test_every_step_has_limits_a_deadline_and_no_root(documents: list[dict[str, Any]]) -> None:
    """A request that is not stated is the limit; who a step runs as is said by its image, and each of ours says so."""
    for name, _, container, settings in _steps(documents):
        kind = "train" if name in TRAINS else "work"
        resources = container["resources"]
        for resource in ("Cpu", "Memory"):
            assert f"{kind}_{resource.lower()}" in resources[f"resource{resource}Limit"], name
            assert f"resource{resource}Request" not in resources, name
        # A pod may go through dozens of targets, one after another.
        longest = 7 * 24 if step_of(container) == "attack_target" else 72
        assert 3600 <= int(settings["activeDeadlineSeconds"]) <= longest * 3600
        profile = container["image"].rpartition("/")[2].partition(":")[0]
        assert "USER 10001:10001\n" in (COMPILED.parents[1] / "images" / profile / "Dockerfile").read_text()
        assert "securityContext" not in settings, name


def test_steps_that_read_or_pass_on_references_may_enter_the_store(documents: list[dict[str, Any]]) -> None:
    spec, secret = documents[0], SECRETS["objects"]
    outsiders = set()
    for name, task, container, settings in _steps(documents):
        component = spec["components"][task["componentRef"]["name"]]
        step = step_of(container)
        hints = get_type_hints(getattr(import_module(f"flprivacy.steps.{step}"), step), include_extras=True)
        sides = (component.get(f"{side}Definitions", {}) for side in ("input", "output"))
        artifacts = {key for side in sides for key in side.get("artifacts", {}) if key in hints}
        closed = {key for key in artifacts if hints[key] != Open} - OPEN_ANYWAY
        if secret not in {entry["secretName"] for entry in settings.get("secretAsVolume", ())}:
            outsiders.add(step)
            assert not closed, name
    assert outsiders <= {
        "check_dp_policy",
        "check_generator",
    }


def test_failed_pods_are_tried_again_unless_failing_is_the_answer(documents: list[dict[str, Any]]) -> None:
    for name, task, _, _ in _steps(documents):
        if name in FINAL:
            assert "retryPolicy" not in task
        else:
            policy = task["retryPolicy"]
            assert policy["maxRetryCount"] == RETRIES, name
            assert (policy["backoffDuration"], policy["backoffFactor"]) == ("30s", 2.0)


def test_no_limit_forbids_another_try(documents: list[dict[str, Any]]) -> None:
    """Argo counts the longest duration from the start of the first pod, and kills a later one when it is over."""
    seen = 0
    for name, task, _, settings in _steps(documents):
        if "retryPolicy" in task:
            seen += 1
            tries = (RETRIES + 1) * int(settings["activeDeadlineSeconds"])
            rests = sum(30 * 2**n for n in range(RETRIES))
            waiting = 7 * 24 * 3600  # for nodes or in a queue
            assert int(task["retryPolicy"]["backoffMaxDuration"].removesuffix("s")) > tries + rests + waiting, name
    assert seen > 3


def test_steps_read_only_the_secrets_that_they_need_and_none_must_exist(documents: list[dict[str, Any]]) -> None:
    known = {secret: str(MOUNTED / key) for key, secret in SECRETS.items()}
    for name, _, _, settings in _steps(documents):
        secrets = {s["secretName"]: s["mountPath"] for s in settings.get("secretAsVolume", ())}
        assert all(s["optional"] for s in settings.get("secretAsVolume", ())), name
        assert secrets.items() <= known.items()
        names_targets = "targets" in documents[0]["root"]["inputDefinitions"]["parameters"]
        assert name not in MLFLOW or "flprivacy-mlflow" in secrets or (name == "resolve-inputs" and not names_targets)
        if name in FINAL:  # two leave in the store, for step notify, why they failed
            assert set(secrets) == ({SECRETS["objects"]} if name in ("check-policy", "check-change") else set()), name
        assert ("flprivacy-webhook" in secrets) == (name == "notify")
        (config,) = settings["configMapAsVolume"]
        assert (config["configMapName"], config["optional"]) == ("flprivacy-settings", True)
        assert Path(config["mountPath"]).parent == MOUNTED


def test_no_step_sets_a_variable_that_another_could_set(documents: list[dict[str, Any]]) -> None:
    """Kubeflow's MLflow plugin sets some by value: of one that we took from a Secret the pod would be invalid."""
    for name, _, container, settings in _steps(documents):
        assert not {"env"} & set(container), name
        assert not {"secretAsEnv", "configMapAsEnv", "fieldPathAsEnv"} & set(settings), name


def test_every_parameter_that_a_task_names_reaches_it(documents: list[dict[str, Any]]) -> None:
    """KFP's compiler forgets parameters that are used for resources alone when it makes a loop."""
    spec = documents[0]
    uses = 0
    for part in (spec["root"], *spec["components"].values()):
        given = set(part.get("inputDefinitions", {}).get("parameters", {}))
        for task in part.get("dag", {}).get("tasks", {}).values():
            for value in task.get("inputs", {}).get("parameters", {}).values():
                if "componentInputParameter" in value:
                    uses += 1
                    assert value["componentInputParameter"] in given
    assert uses > 15


def test_targets_fan_out_in_bounded_loops(documents: list[dict[str, Any]]) -> None:
    spec = documents[0]
    parts = (spec["root"], *spec["components"].values())
    tasks = {name: task for part in parts for name, task in part.get("dag", {}).get("tasks", {}).items()}
    loops = [task for name, task in tasks.items() if name.startswith("for-loop")]
    assert all(1 < task["iteratorPolicy"]["parallelismLimit"] <= 10 for task in loops)
    assert loops or {"check-dp-policy", "check-generator"} & set(tasks)


def test_queues_and_a_shared_cache_are_asked_for_on_request(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.compile", "--into", str(tmp_path)]
    subprocess.run(
        command, env=os.environ | {QUEUES_VARIABLE: "1", CLAIM_VARIABLE: "cache"}, cwd=COMPILED.parents[1], check=True
    )
    documents = list(yaml.load_all((tmp_path / "study.yaml").read_text(), Loader=yaml.CSafeLoader))
    for name, _, _, settings in _steps(documents):
        pool = "gpu" if name in TRAINS else "cpu"
        assert settings["podMetadata"]["labels"][QUEUE_LABEL] == f"flprivacy-{pool}"
        (mounted,) = settings["pvcMount"]
        assert (mounted["constant"], mounted["mountPath"]) == ("cache", "/cache")
    for executor in documents[0]["deploymentSpec"]["executors"].values():
        assert {"name": "FLPRIVACY_CACHE", "value": "/cache"} in executor["container"]["env"]
    assert sorted(tmp_path.glob("*.yaml")) == sorted(tmp_path / path.name for path in COMPILED.glob("*.yaml"))
    plain = _steps(_read("study"))
    assert all(QUEUE_LABEL not in settings["podMetadata"]["labels"] for _, _, _, settings in plain)
    assert all("pvcMount" not in settings for _, _, _, settings in plain)
