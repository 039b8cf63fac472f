"""``flprivacy submit`` against the published API: uploads once, types, waits, tells what failed, tries again."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from rich.console import Console

from flprivacy.cluster.api import connect
from flprivacy.cluster.versions import ensure_experiment, ensure_version
from flprivacy.cluster.watching import watch_run
from flprivacy.launch.compiled import read_compiled
from tests.cluster.command import Command
from tests.services.kfp_state import Fault, KfpState, task

STUDY = ("submit", "study", "--poll", "0")


def test_a_pipeline_is_uploaded_once_and_again_only_if_its_content_changed(
    kfp: KfpState, flprivacy: Command, pipelines: Path
) -> None:
    first = flprivacy(*STUDY, "--no-wait")
    assert "(uploaded)" in first.output
    second = flprivacy(*STUDY, "--no-wait")
    assert "(unchanged)" in second.output
    file = pipelines / "study.yaml"
    documents = list(yaml.safe_load_all(file.read_text()))
    documents[0]["sdkVersion"] = "kfp-9"  # not content
    file.write_text(yaml.safe_dump_all(documents))
    assert "(unchanged)" in flprivacy(*STUDY, "--no-wait").output
    documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"].popitem()  # the second document is content
    file.write_text(yaml.safe_dump_all(documents))
    assert "(uploaded)" in flprivacy(*STUDY, "--no-wait").output
    assert kfp.count("UploadPipelineVersion") == 2
    assert kfp.count("PipelineService_CreatePipeline") == 1
    assert kfp.count("ExperimentService_CreateExperiment") == 1
    assert len({run["pipeline_version_reference"]["pipeline_version_id"] for run in kfp.runs.values()}) == 2
    assert [len(documents) for documents in kfp.specs.values()] == [2, 2]


def test_a_version_is_found_beyond_the_first_page(
    kfp: KfpState, flprivacy: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that leaves the filter out still answers in pages."""
    flprivacy(*STUDY, "--no-wait")
    (pipeline,) = kfp.pipelines
    own = kfp.versions.copy()
    kfp.versions.clear()
    for number in range(250):
        other = {"pipeline_id": pipeline, "pipeline_version_id": f"v{number}", "name": f"{number}"}
        kfp.versions[f"v{number}"] = other | {"display_name": f"{number}"}
    kfp.versions |= own
    monkeypatch.setattr("flprivacy.cluster.versions.named", lambda name: "")
    assert "(unchanged)" in flprivacy(*STUDY, "--no-wait").output
    assert kfp.count("PipelineService_ListPipelineVersions") >= 3 + 1


def test_parameters_are_typed_and_only_those_that_were_given(kfp: KfpState, flprivacy: Command) -> None:
    words = ("--set", "cohort.seed=4", "--set", "attack.seeds=[0, 1]", "--fail-on-leak")
    flprivacy(*STUDY, "--no-wait", *words, "--param", "try_again=2", "--param", "train_gpus=0", "--run-name", "mine")
    (run,) = kfp.runs.values()
    assert run["runtime_config"]["parameters"] == {
        "preset": "demo",
        "overrides": {"cohort": {"seed": 4}, "attack": {"seeds": [0, 1]}},
        "fail_on_leak": True,
        "try_again": 2,
        "train_gpus": "0",
    }
    assert (run["display_name"], run["service_account"]) == ("mine", "flprivacy-steps")
    flprivacy(*STUDY, "--no-wait")
    assert list(kfp.runs.values())[-1]["runtime_config"]["parameters"] == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("study", "--param", "try_again=two"), "try_again takes a whole number"),
        (("study", "--param", "try_again=true"), "try_again takes a whole number"),
        (("study", "--param", "fail_on_leak=1"), "fail_on_leak takes true or false"),
        (("study", "--param", "train_nodes=[1]"), "train_nodes takes a mapping"),
        (("study", "--param", "nonsense=1"), "no such parameter"),
        (("study", "--param", "train_memory=16 GB"), "train_memory is '16 GB'; give bytes as Kubernetes writes them"),
        (("study", "--param", "work_cpu=two"), "work_cpu is 'two'; give cores"),
        (("study", "--param", "train_gpus="), "train_gpus is ''; give a whole number as text"),
        (("study", "--cohort", "s3://a/b"), "--cohort is not for study"),
        (("study", "--set", "attack.fractions=[1.5]"), "exposed fraction is 1.5"),
        (("privacy_audit", "--cohort", "s3://a/b"), "privacy_audit needs targets; give it with --target"),
        (
            ("privacy_audit", "--cohort", "data/cohort", "--target", "a=s3://m/a"),
            "pods cannot read this machine's disk",
        ),
        (("privacy_audit", "--cohort", "s3://a/b", "--target", "a=m/a"), "pods cannot read this machine's disk"),
        (
            ("privacy_audit", "--cohort", "s3://a/b", "--target", "a=s3://m/a,own_answers=own.npz"),
            "own.npz: pods cannot read this machine's disk",
        ),
        (("study", "--fail-on-worse"), "--fail-on-worse is not for study"),
        (
            ("privacy_audit", "--cohort", "s3://a/b", "--targets-from", "s3://m"),
            "--targets-from is not for privacy_audit",
        ),
        (("re_audit", "--cohort", "s3://a/b"), "needs --targets-from LOCATION or --target"),
        (("re_audit", "--cohort", "s3://a/b", "--targets-from", "models"), "pods cannot read this machine's disk"),
        (("study", "--store", "here"), "pods cannot read this machine's disk"),
    ],
)
def test_what_is_wrong_is_said_before_the_server_is_asked(
    kfp: KfpState, flprivacy: Command, words: tuple[str, ...], message: str
) -> None:
    result = flprivacy("submit", *words, "--no-wait", code=2)
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert kfp.asked == []


def test_waiting_shows_each_step_and_ends_with_success(kfp: KfpState, flprivacy: Command) -> None:
    kfp.plugins_output = {
        "mlflow": {
            "state": "PLUGIN_RUNNING",
            "entries": {"run_url": {"value": "https://mlflow.example.org/#/runs/1", "render_type": "URL"}},
        }
    }
    result = flprivacy(*STUDY)
    (run,) = kfp.runs
    shown = [line for line in result.output.splitlines() if line.startswith("  ") and "http" not in line]
    assert [line.split(maxsplit=1)[1] for line in shown] == [
        "plan-study: succeeded 0:01:00",
        "make-cohort: running",
        "make-cohort: succeeded 0:01:00",
    ]
    assert f"{kfp.url}/#/runs/details/{run}" in result.output
    assert "mlflow run url: https://mlflow.example.org/#/runs/1" in result.output
    assert f"audit.kfp_run = {run}" in result.output


def test_a_failed_run_ends_with_its_step_and_message(kfp: KfpState, flprivacy: Command) -> None:
    pod = task("executor", "FAILED", message="main: Error (exit code 2)", pod_name="pod-1")
    loop = [
        task("attack-target", "SUCCEEDED"),
        task("attack-target", "FAILED", child_tasks=[{"pod_name": "pod-1"}]),
        pod,
    ]
    kfp.plots = [
        (
            ("RUNNING", [task("attack-target", "RUNNING"), task("attack-target", "PENDING")]),
            ("FAILED", [*loop, task("for-loop-1", "FAILED"), task("evaluate-driver", "FAILED", message="no image")]),
        )
    ]
    result = flprivacy(*STUDY, code=3)
    assert "attack-target: 1 running, 1 pending" in result.output
    assert "failed:     attack-target: main: Error (exit code 2)\n" in result.output
    assert "failed:     evaluate: no image\n" in result.output
    assert "for-loop-1" not in result.output
    assert "failed: http" in result.output


def test_a_terminal_shows_a_table_of_the_steps(kfp: KfpState, flprivacy: Command) -> None:
    flprivacy(*STUDY, "--no-wait")
    (run,) = kfp.runs
    out = io.StringIO()
    screen = Console(file=out, force_terminal=True, width=120)
    watch_run(connect(kfp.url), run, ("make-cohort", "plan-study"), screen, every_seconds=0.0)
    last = out.getvalue().rpartition(f"run {run} · succeeded")[2]
    assert last.index("plan-study") < last.index("make-cohort")
    assert last.count("0:01:00") == 2


def test_a_server_that_stays_away_is_no_end_of_the_run(kfp: KfpState, flprivacy: Command) -> None:
    kfp.faults = [Fault("RunService_GetRun", 503) for _ in range(40)]
    output = flprivacy(*STUDY, code=2).output
    assert "lost sight of the run, which goes on: http" in output
    assert kfp.count("RunService_GetRun") == 20


@pytest.mark.parametrize("state", ["CANCELED", "SKIPPED"])
def test_a_run_that_came_to_nothing_is_no_success(kfp: KfpState, flprivacy: Command, state: str) -> None:
    kfp.plots = [(("RUNNING", []), (state, []))]
    assert f"{state.lower()}: http" in flprivacy(*STUDY, code=3).output


def test_an_interrupted_watch_leaves_the_run_going(
    kfp: KfpState, flprivacy: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flprivacy.cluster.watching.time", SimpleNamespace(sleep=interrupt, monotonic=lambda: 0.0))
    result = flprivacy(*STUDY, code=130)
    assert "stopped watching; the run goes on: http" in result.output
    assert kfp.count("RunService_GetRun") == 1


def test_failures_that_may_pass_are_tried_again_and_nothing_is_made_twice(kfp: KfpState, flprivacy: Command) -> None:
    kfp.faults = [
        Fault("HealthzService_GetHealthz", 503),
        Fault("PipelineService_CreatePipeline", 503, after=True),
        Fault("UploadPipelineVersion", 504, after=True),
        Fault("ExperimentService_CreateExperiment", 502, after=True),
        Fault("RunService_CreateRun", 504, after=True),
        Fault("RunService_CreateRun", 503),
        Fault("RunService_GetRun", 503),
        Fault("RunService_GetRun", 0),
    ]
    flprivacy(*STUDY)
    assert len(kfp.faults) == 1  # the second fault of a run's making: the first had been found to be made
    assert (len(kfp.pipelines), len(kfp.versions), len(kfp.experiments), len(kfp.runs)) == (1, 1, 1, 1)


def test_tries_are_bounded(kfp: KfpState, flprivacy: Command) -> None:
    kfp.faults = [Fault("RunService_CreateRun", 503) for _ in range(20)]
    result = flprivacy(*STUDY, code=2)
    assert "unavailable (503) in 5 attempts: injected; try again later" in result.output
    assert kfp.count("RunService_CreateRun") == 5
    assert kfp.runs == {}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "not signed in (401); set KFP_TOKEN"),
        (403, "not allowed (403); ask for access"),
        (404, "not found (404)"),
        (400, "refused (400): injected; correct what the message names"),
        (500, "refused (500): injected; check the API server's log"),
    ],
)
def test_refusals_are_one_line_and_not_tried_again(
    kfp: KfpState, flprivacy: Command, status: int, message: str
) -> None:
    kfp.faults = [Fault("RunService_CreateRun", status)]
    result = flprivacy(*STUDY, "--no-wait", code=2)
    assert message in result.output
    assert result.output.splitlines()[-1].startswith("flprivacy: http")
    assert kfp.count("RunService_CreateRun") == 1


def test_a_name_that_another_took_in_between_is_used(kfp: KfpState, flprivacy: Command) -> None:
    """Between the look and the making, another made the same: 409, and what the other made is taken."""
    made = ("PipelineService_CreatePipeline", "UploadPipelineVersion", "ExperimentService_CreateExperiment")
    kfp.faults = [Fault(operation, 409, after=True) for operation in made]
    assert "(unchanged)" in flprivacy(*STUDY, "--no-wait").output
    assert kfp.faults == []
    assert (len(kfp.pipelines), len(kfp.versions), len(kfp.experiments), len(kfp.runs)) == (1, 1, 1, 1)


def test_many_at_once_end_with_one_version_and_one_experiment(kfp: KfpState) -> None:
    clusters, pipeline = [connect(kfp.url) for _ in range(4)], read_compiled("dp_check")
    with ThreadPoolExecutor(len(clusters)) as pool:
        versions = list(pool.map(lambda cluster: ensure_version(cluster, pipeline), clusters))
        experiments = list(pool.map(lambda cluster: ensure_experiment(cluster, "audits"), clusters))
    assert len({version.version_id for version in versions}) == len(kfp.versions) == len(kfp.pipelines) == 1
    assert [version.uploaded for version in versions].count(True) == 1
    assert set(experiments) == set(kfp.experiments)


def test_mlflow_experiment_goes_to_the_backend_s_plugin(kfp: KfpState, flprivacy: Command) -> None:
    flprivacy(*STUDY, "--no-wait", "--mlflow-experiment", "audits", "--service-account", "")
    (run,) = kfp.runs.values()
    assert run["plugins_input"] == {"mlflow": {"experiment_name": "audits"}}
    assert "service_account" not in run
