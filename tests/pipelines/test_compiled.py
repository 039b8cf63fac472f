"""Compiled pipelines: in step with their sources, small, readable in a form, nothing secret, MLflow never cached."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.pattern import COMMAND
from pipelines.compile import COMPILED, PIPELINES, main, stale


@pytest.fixture(params=sorted(PIPELINES))
def spec(request: pytest.FixtureRequest) -> dict[str, Any]:
    documents = list(yaml.safe_load_all((COMPILED / f"{request.param}.yaml").read_text()))
    assert isinstance(documents[0], dict)
    return documents[0]


def _tasks(spec: dict[str, Any]) -> dict[str, Any]:
    tasks = dict(spec["root"]["dag"]["tasks"])
    for component in spec["components"].values():
        tasks |= component.get("dag", {}).get("tasks", {})
    return tasks


def test_committed_files_are_in_step() -> None:
    assert stale() == []


def test_a_stale_file_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in COMPILED.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    spec, platform = yaml.safe_load_all((tmp_path / "study.yaml").read_text())
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    settings["exec-train-target"]["securityContext"]["runAsUser"] = "0"
    (tmp_path / "study.yaml").write_text(yaml.safe_dump_all([spec, platform]))
    monkeypatch.setattr("pipelines.compile.COMPILED", tmp_path)
    monkeypatch.setattr("sys.argv", ["compile", "--check"])
    assert main() == 1
    assert "study.yaml is not in step" in capsys.readouterr().err


def test_every_parameter_reads_well_in_a_form(spec: dict[str, Any]) -> None:
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert {"preset", "overrides", "store", "fail_on_leak"} <= set(parameters)
    for name, parameter in parameters.items():
        assert len(parameter.get("description", "")) > 20, name
        assert parameter["description"].rstrip().endswith("."), name
    assert not [n for n in parameters if any(word in n for word in ("secret", "password", "token", "key"))]


def test_steps_that_write_to_mlflow_are_never_cached(spec: dict[str, Any]) -> None:
    tasks = _tasks(spec)
    assert "enableCache" not in tasks["log-mlflow"].get("cachingOptions", {})
    costly = {"attack-attributes", "train-target"} & set(tasks)
    assert costly
    assert all(tasks[name]["cachingOptions"]["enableCache"] is True for name in costly)


def test_a_step_is_a_command_without_source_or_documentation(spec: dict[str, Any]) -> None:
    """On a backend every task carries its executor and its component: with sources, fifty targets are too many."""
    executors = spec["deploymentSpec"]["executors"]
    for executor in executors.values():
        container = executor["container"]
        assert container["image"].startswith("flprivacy/")
        assert container["command"] == COMMAND
        assert len(json.dumps([container["command"], container["args"]])) < 200
    steps = [component for component in spec["components"].values() if "executorLabel" in component]
    assert len(steps) == len(executors)
    assert "description" not in json.dumps(steps)
