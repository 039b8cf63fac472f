"""Compiled pipelines: in step with their sources, small, readable in a form, nothing secret, MLflow never cached."""

import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.pattern import COMMAND

# Compiling is for a fresh process: for each step kfp goes through all imported modules, and here they are thousands.
COMPILED = Path(__file__).parents[2] / "pipelines" / "compiled"


@functools.cache
def _read(name: str) -> dict[str, Any]:
    spec = next(yaml.load_all((COMPILED / f"{name}.yaml").read_text(), Loader=yaml.CSafeLoader))
    assert isinstance(spec, dict)
    return spec


@pytest.fixture(params=sorted(path.stem for path in COMPILED.glob("*.yaml")))
def spec(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What one pipeline was compiled to; all tests look at the same object."""
    return _read(request.param)


def _tasks(spec: dict[str, Any]) -> dict[str, Any]:
    tasks = dict(spec["root"]["dag"]["tasks"])
    for component in spec["components"].values():
        tasks |= component.get("dag", {}).get("tasks", {})
    return tasks


def _compile(setup: str, *words: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; from pathlib import Path; from pipelines import compile as c; {setup}; sys.exit(c.main())"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, cwd=COMPILED.parents[1], capture_output=True, text=True, check=False)


def test_committed_files_are_in_step() -> None:
    done = _compile("print(*sorted(c.PIPELINES))", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == sorted(path.stem for path in COMPILED.glob("*.yaml"))


def test_a_stale_file_is_found(tmp_path: Path) -> None:
    for file in COMPILED.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    spec, platform = yaml.load_all((tmp_path / "study.yaml").read_text(), Loader=yaml.CSafeLoader)
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    settings["exec-attack-target"]["activeDeadlineSeconds"] = "1"
    (tmp_path / "study.yaml").write_text(yaml.dump_all([spec, platform], Dumper=yaml.CSafeDumper))
    setup = f"c.COMPILED = Path({str(tmp_path)!r}); c.PIPELINES = {{'study': c.PIPELINES['study']}}"
    done = _compile(setup, "--check")
    assert done.returncode == 1
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == ["pipelines/compiled/study.yaml"]
    assert "study.yaml is not in step" in done.stderr


def test_every_parameter_reads_well_on_the_page_of_its_pipeline(spec: dict[str, Any]) -> None:
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert {"preset", "overrides", "store", "fail_on_leak"} <= set(parameters)
    lines = spec["pipelineInfo"]["description"].splitlines()
    told = dict(line.removeprefix("- ").split(": ", 1) for line in lines if line.startswith("- "))
    for name, parameter in parameters.items():
        assert len(told[name]) > 20, name
        assert told[name].endswith("."), name
        assert "description" not in parameter, name  # every run would carry it
    assert not [n for n in parameters if any(word in n for word in ("secret", "password", "token", "key"))]


def test_the_page_of_a_pipeline_tells_its_parameters_by_purpose(spec: dict[str, Any]) -> None:
    """The form does neither: it sorts them by name, and shows no description but the pipeline's."""
    told = [line[2:].partition(":")[0] for line in spec["pipelineInfo"]["description"].splitlines() if line[:2] == "- "]
    assert sorted(told) == sorted(spec["root"]["inputDefinitions"]["parameters"])
    assert told.index("preset") < told.index("fail_on_leak") < told.index("train_gpus") < told.index("try_again")
    assert told[0] in ("cohort", "preset")


def test_the_form_ends_with_where_a_run_runs(spec: dict[str, Any]) -> None:
    """It is sorted by name, so the names have to do it."""
    names = sorted(spec["root"]["inputDefinitions"]["parameters"])
    technical = [name for name in names if name.startswith(("train_", "try_", "work_"))]
    assert len(technical) == 8
    assert names[-8:] == technical
    assert names[0] == ("cohort" if "cohort" in names else "fail_on_leak")


@pytest.mark.parametrize("pipeline", ["privacy_audit", "re_audit"])
def test_however_an_audit_ends_somebody_is_told(pipeline: str) -> None:
    spec = next(yaml.load_all((COMPILED / f"{pipeline}.yaml").read_text(), Loader=yaml.CSafeLoader))
    tasks = spec["root"]["dag"]["tasks"]
    assert sorted(tasks) == ["exit-handler-1", "notify"]
    assert tasks["notify"]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert tasks["notify"]["dependentTasks"] == ["exit-handler-1"]
    assert "enableCache" not in tasks["notify"]["cachingOptions"]


def test_steps_that_write_to_mlflow_are_never_cached(spec: dict[str, Any]) -> None:
    tasks = _tasks(spec)
    files = {"log-mlflow", "report-audit"} & set(tasks)
    assert len(files) == 1
    assert all("enableCache" not in tasks[name].get("cachingOptions", {}) for name in files)
    costly = {"attack-target", "train-target", "train-generator", "synthesize", "evaluate"} & set(tasks)
    assert costly
    assert all(tasks[name]["cachingOptions"]["enableCache"] is True for name in costly)


def test_a_study_without_a_generator_has_one_pod_for_it_and_not_three() -> None:
    """Whether there is one says the plan, and that is made when the run's steps are fixed already."""
    tasks = set(_tasks(_read("study")))
    assert "synthesize" in tasks
    assert not tasks & {"train-generator", "synthesize-cohort", "evaluate-generator"}


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


def test_what_is_compared_is_of_steps_that_a_run_has_once(spec: dict[str, Any]) -> None:
    """Kubeflow's page of several runs has a column for each step with metrics; a loop's differ by order alone."""
    dags = [one["dag"]["tasks"].values() for one in (spec["root"], *spec["components"].values()) if "dag" in one]
    inside = {task["componentRef"]["name"] for tasks in dags for task in tasks if "parameterIterator" in task}
    steps = {
        task["componentRef"]["name"] for name in inside for task in spec["components"][name]["dag"]["tasks"].values()
    }
    assert all("dag" not in spec["components"][name] for name in steps)
    for name in steps:
        outputs = spec["components"][name].get("outputDefinitions", {}).get("artifacts", {}).values()
        assert "system.Metrics" not in [one["artifactType"]["schemaTitle"] for one in outputs], name


def test_no_artifact_is_given_to_two_inputs_of_a_task(spec: dict[str, Any]) -> None:
    """The metadata store answers ALREADY_EXISTS, and the task's driver dies."""
    found = list(_inputs(spec, "root", spec["root"], {}))
    assert len(found) > 5
    for task, sources in found:
        assert len(sources) == len(set(sources)), task


def test_an_artifact_at_two_inputs_is_found() -> None:
    """As it was in dp_check, and hidden behind a loop and another name."""
    spec = next(yaml.safe_load_all((COMPILED / "dp_check.yaml").read_text()))
    inputs = spec["root"]["dag"]["tasks"]["log-mlflow"]["inputs"]["artifacts"]
    inputs["report"] = inputs["audit"]
    doubled = [task for task, sources in _inputs(spec, "root", spec["root"], {}) if len(sources) > len(set(sources))]
    assert doubled == ["root/log-mlflow"]
    inner = {"dag": {"tasks": {"log-mlflow": spec["root"]["dag"]["tasks"].pop("log-mlflow")}}}
    spec["components"]["comp-loop"] = inner
    outside = {"a": dict(inputs["audit"]), "b": dict(inputs["audit"])}
    inputs["audit"], inputs["report"] = {"componentInputArtifact": "a"}, {"componentInputArtifact": "b"}
    spec["root"]["dag"]["tasks"]["loop"] = {"componentRef": {"name": "comp-loop"}, "inputs": {"artifacts": outside}}
    doubled = [task for task, sources in _inputs(spec, "root", spec["root"], {}) if len(sources) > len(set(sources))]
    assert doubled == ["root/loop", "root/loop/log-mlflow"]


def _inputs(
    spec: dict[str, Any], path: str, part: dict[str, Any], given: dict[str, str]
) -> Iterator[tuple[str, list[str]]]:
    """Yield every task by its path, with the origin of each of its input artifacts: the task that wrote it, and where.

    ``given`` holds the origins of the part's own input artifacts.
    """
    for name, task in part["dag"]["tasks"].items():
        origins = {}
        for key, source in task.get("inputs", {}).get("artifacts", {}).items():
            if "componentInputArtifact" in source:
                origins[key] = given[source["componentInputArtifact"]]
            else:
                output = source["taskOutputArtifact"]
                origins[key] = _origin(spec, path, part, output["producerTask"], output["outputArtifactKey"])
        yield f"{path}/{name}", list(origins.values())
        component = spec["components"][task["componentRef"]["name"]]
        if "dag" in component:
            yield from _inputs(spec, f"{path}/{name}", component, origins)


def _origin(spec: dict[str, Any], path: str, part: dict[str, Any], producer: str, key: str) -> str:
    """Return which task wrote an output, however deep within the task that hands it on."""
    component = spec["components"][part["dag"]["tasks"][producer]["componentRef"]["name"]]
    if "dag" not in component:
        return f"{path}/{producer}/{key}"
    selected = component["dag"]["outputs"]["artifacts"][key]["artifactSelectors"]
    inner = [
        _origin(spec, f"{path}/{producer}", component, one["producerSubtask"], one["outputArtifactKey"])
        for one in selected
    ]
    return " or ".join(sorted(inner))
