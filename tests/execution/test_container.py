"""A step in its container gets what Kubeflow hands over, and its results are what kfp's own executor would write."""

import json
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl
from kfp.dsl.executor import Executor

from flprivacy.core.errors import TargetError
from flprivacy.execution import container
from flprivacy.execution.container import StepResult, confusion_metadata, run_in_container


def task(folder: Path, parameters: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, str]) -> dict[str, Any]:
    """Return an executor input: inputs are paths or lists of paths, outputs kinds of artifact."""
    lists = {name: paths if isinstance(paths, list) else [paths] for name, paths in inputs.items()}
    return {
        "inputs": {
            "parameterValues": parameters,
            "artifacts": {
                name: {
                    "artifacts": [
                        {"name": name, "uri": str(path), "type": {"schemaTitle": "system.Artifact"}} for path in paths
                    ]
                }
                for name, paths in lists.items()
            },
        },
        "outputs": {
            "artifacts": {
                name: {
                    "artifacts": [
                        {"name": name, "uri": str(folder / name), "type": {"schemaTitle": kind}, "metadata": {}}
                    ]
                }
                for name, kind in outputs.items()
            },
            "outputFile": str(folder / "executor_output.json"),
        },
    }


def written(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "executor_output.json").read_text())
    assert isinstance(found, dict)
    return found


def test_blanks_that_a_form_keeps_are_no_part_of_a_parameter(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def step(*, cohort: str, targets: dict[str, Any], places: tuple[str, ...]) -> None:
        seen.update(cohort=cohort, targets=targets, places=places)

    given = {"cohort": "s3://a/b ", "targets": {"mine": " s3://m/a\n"}, "places": ["s3://p "]}
    run_in_container(step, json.dumps(task(tmp_path, given, {}, {})))
    assert seen == {"cohort": "s3://a/b", "targets": {"mine": "s3://m/a"}, "places": ("s3://p",)}


def test_a_step_gets_its_arguments_in_the_types_of_its_signature(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def step(
        *,
        count: int,
        rate: float,
        ask: bool,
        seeds: tuple[int, ...],
        fields: dict[str, Any],
        plan: Path,
        scores: tuple[Path, ...],
        out: Path,
        left_out: str = "default",
    ) -> str:
        seen.update(count=count, rate=rate, ask=ask, seeds=seeds, fields=fields, plan=plan, scores=scores, out=out)
        seen["left_out"] = left_out
        out.write_text("made")
        return "done"

    parameters = {
        "count": 3.0,
        "rate": 1,
        "ask": True,
        "seeds": [0.0, 1.0],
        "fields": {"a": 1.0},
        "left_out": None,
        "cpu_request": "2",
    }
    given = task(tmp_path, parameters, {"plan": "/p", "scores": ["/a", "/b"]}, {"out": "system.Artifact"})
    run_in_container(step, json.dumps(given))
    assert seen == {
        "count": 3,
        "rate": 1.0,
        "ask": True,
        "seeds": (0, 1),
        "fields": {"a": 1.0},
        "plan": Path("/p"),
        "scores": (Path("/a"), Path("/b")),
        "out": tmp_path / "out",
        "left_out": "default",
    }
    assert [type(seen["count"]), type(seen["rate"]), type(seen["seeds"][0])] == [int, float, int]
    assert written(tmp_path)["parameterValues"] == {"Output": "done"}


def test_results_are_those_of_kfps_executor(tmp_path: Path) -> None:
    def theirs(
        cohort: dsl.Output[dsl.Dataset],
        metrics: dsl.Output[dsl.Metrics],
        confusion: dsl.Output[dsl.ClassificationMetrics],
    ) -> int:
        cohort.metadata["digest"] = "abc"
        metrics.log_metric("f1", 0.5)
        confusion.log_confusion_matrix(["a", "b"], [[1, 2], [3, 4]])
        return 7

    def ours(*, cohort: Path) -> StepResult:
        return StepResult(
            parameters={"Output": 7},
            metadata={
                "cohort": {"digest": "abc"},
                "metrics": {"f1": 0.5},
                "confusion": confusion_metadata(["a", "b"], [[1, 2], [3, 4]]),
            },
        )

    outputs = {"cohort": "system.Dataset", "metrics": "system.Metrics", "confusion": "system.ClassificationMetrics"}
    given = task(tmp_path, {}, {}, outputs)
    Executor(given, theirs).execute()
    expected = written(tmp_path)
    (tmp_path / "executor_output.json").unlink()
    run_in_container(ours, json.dumps(given))
    assert written(tmp_path) == expected
    assert all(
        (tmp_path / name).is_file() for name in outputs
    )  # kfp.local reuses a step only if its artifacts are there


def test_a_refusal_leaves_no_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuses(*, out: Path) -> None:
        raise TargetError("not a target")

    def counts(*, count: int) -> None:
        raise AssertionError

    for step, parameters, message in ((refuses, {}, "not a target"), (counts, {"count": "x"}, "count: expected int")):
        with pytest.raises(SystemExit) as ended:
            run_in_container(step, json.dumps(task(tmp_path, parameters, {}, {"out": "system.Artifact"})))
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []


def test_a_step_on_one_target_fails_alone(tmp_path: Path) -> None:
    def train(*, target_name: str, target: Path) -> StepResult:
        raise TargetError("not a target")

    outputs = {"target": "system.Model", "metrics": "system.Metrics"}
    run_in_container(train, json.dumps(task(tmp_path, {"target_name": "a"}, {}, outputs)))
    found = written(tmp_path)["artifacts"]
    assert found["target"]["artifacts"][0]["metadata"] == {"failed": True}
    assert found["metrics"]["artifacts"][0]["metadata"] == {}
    reason = json.loads((tmp_path / "target" / "failure.json").read_text())["reason"]
    assert reason == "not a target"


def test_artifacts_of_a_backend_are_where_its_launcher_puts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*, plan: Path, out: Path) -> None:
        out.write_text(plan.read_text())

    monkeypatch.setattr(container, "_MOUNTS", {"s3://": f"{tmp_path}/s3/"})
    (tmp_path / "s3" / "bucket").mkdir(parents=True)
    (tmp_path / "s3" / "bucket" / "plan").write_text("the plan")
    given = task(tmp_path, {}, {"plan": "s3://bucket/plan"}, {"out": "system.Artifact"})
    given["outputs"]["artifacts"]["out"]["artifacts"][0]["uri"] = "s3://bucket/run/out"
    run_in_container(step, json.dumps(given))
    assert (tmp_path / "s3" / "bucket" / "run" / "out").read_text() == "the plan"
    assert written(tmp_path)["artifacts"]["out"]["artifacts"][0]["uri"] == "s3://bucket/run/out"
