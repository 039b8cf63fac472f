"""``flprivacy runs``, and how ``submit`` ends: causes from Kubernetes, exit codes, an interrupted watch taken up."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from flprivacy.cluster.runs import last_period
from flprivacy.core.digests import digest_file
from flprivacy.reporting.terminal import headline
from flprivacy.tracking.audits import log_audit
from flprivacy.tracking.filing import Filing
from tests.cluster.command import Command
from tests.cluster.kubernetes_objects import node, pod, terminated, unscheduled, workflow
from tests.reporting.example_audit import example_audit
from tests.services.kfp_state import KfpState, task

STUDY = ("submit", "study", "--poll", "0")
KILLED = [
    workflow(node("train-target.executor", "Failed", message="main: Error (exit code 1)"), phase="Failed"),
    pod("train-target.executor", "Failed", target="central", **terminated("OOMKilled", 137)),
]

_ENDED = workflow(node("check-policy.executor", "Failed", message="main: Error (exit code 1)"), phase="Failed")


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a ``kubectl`` on the path that answers with the file that is returned, and keeps its arguments beside it."""
    answer, program = tmp_path / "answer.json", tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat {answer}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    answer.write_text(json.dumps({"items": []}))
    return answer


def _failed(step: str) -> tuple[tuple[str, list[dict[str, object]]], ...]:
    return (("RUNNING", [task(step, "RUNNING")]), ("FAILED", [task(step, "FAILED")]))


def test_a_failed_run_names_target_cause_and_log(kfp: KfpState, flprivacy: Command, kubectl: Path) -> None:
    kubectl.write_text(json.dumps({"items": KILLED}))
    kfp.plots = [_failed("train-target")]
    output = flprivacy(*STUDY, code=3).output
    assert "failed:     train-target (central): out of memory: " in output
    assert "kubectl -n kubeflow logs pod-train-target -c main" in output
    assert output.count("failed:     ") == 1  # not once more in the words of Kubeflow Pipelines
    (run,) = kfp.runs
    assert f"pipeline/runid={run}" in kubectl.with_name("asked").read_text()


def test_what_kubernetes_does_not_tell_the_backend_tells(kfp: KfpState, flprivacy: Command, kubectl: Path) -> None:
    kubectl.with_name("bin").joinpath("kubectl").write_text("#!/bin/sh\necho 'Forbidden: no access' >&2\nexit 1\n")
    kfp.plots = [_failed("evaluate")]
    output = flprivacy(*STUDY, code=3).output
    assert "failed:     evaluate: failed; its log says why" in output
    assert "Kubernetes knows more, but kubectl: Forbidden: no access" in output


@pytest.mark.parametrize(("own_code", "code"), [(4, 4), (2, 3)])  # 2: a target that could not be audited
def test_a_leak_has_an_exit_code_of_its_own(
    kfp: KfpState, flprivacy: Command, kubectl: Path, own_code: int, code: int
) -> None:
    words = terminated("Error", 1, f"central: what was found; what to do (exit code {own_code})")
    kubectl.write_text(json.dumps({"items": [_ENDED, pod("check-policy.executor", "Failed", **words)]}))
    kfp.plots = [_failed("check-policy")]
    assert "failed:     check-policy: central: what was found" in flprivacy(*STUDY, code=code).output


def test_without_kubernetes_no_failure_is_taken_for_a_leak(kfp: KfpState, flprivacy: Command, kubectl: Path) -> None:
    kfp.plots = [_failed("check-policy")]
    flprivacy(*STUDY, code=3)


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 3)])
def test_the_end_shows_what_the_run_filed_in_mlflow(
    kfp: KfpState,
    flprivacy: Command,
    kubectl: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    code: int,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    kfp.plots = [(("RUNNING", []), (state, [task("check-policy", state)]))]
    flprivacy(*STUDY, "--no-wait")
    (run,) = kfp.runs
    keep = ("central", "untrained", "pixels")
    audit = example_audit(n_sites=3, keep=keep, attributes=("site",), accesses=("features",))
    (tmp_path / "report").mkdir()
    audit.write(tmp_path / "audit.json")
    digest = digest_file(tmp_path / "audit.json")
    filing = Filing(kfp_run=run)
    filed = log_audit(audit, digest=digest, folder=tmp_path, report=tmp_path / "report", filing=filing)
    output = flprivacy("runs", "watch", run, "--poll", "0", code=code).output
    assert f"• {headline(audit)[0]}" in " ".join(output.split())
    assert f"/runs/{filed.run_id}" in output


def test_runs_are_listed_whoever_started_them(kfp: KfpState, flprivacy: Command) -> None:
    assert "no run of flprivacy's pipelines" in flprivacy("runs", "list").output
    flprivacy(*STUDY, "--no-wait", "--run-name", "first")
    flprivacy("submit", "dp_check", "--no-wait", "--run-name", "second")
    foreign = next(iter(kfp.runs.values())) | {"run_id": "other", "display_name": "foreign"}
    kfp.runs["other"] = foreign | {"pipeline_version_reference": {"pipeline_id": "x", "pipeline_version_id": "y"}}
    rows = [line for line in flprivacy("runs", "list").output.splitlines() if "flprivacy-" in line]
    assert [("first" in row, "second" in row) for row in rows] == [(False, True), (True, False)]
    latest = flprivacy("runs", "list", "--number", "1").output
    assert "second" in latest
    assert "first" not in latest


def test_an_interrupted_watch_is_taken_up_by_the_run_s_id(
    kfp: KfpState, flprivacy: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        clock = SimpleNamespace(sleep=interrupt, monotonic=lambda: 0.0)
        patched.setattr("flprivacy.cluster.watching.time", clock)
        output = flprivacy(*STUDY, code=130).output
    (run,) = kfp.runs
    assert f"'flprivacy runs watch {run}'" in output
    again = flprivacy("runs", "watch", run, "--poll", "0").output
    assert "make-cohort: succeeded" in again
    assert f"succeeded: {kfp.url}/#/runs/details/{run}" in again


def test_a_run_is_shown_as_it_is_with_what_it_waits_for(kfp: KfpState, flprivacy: Command, kubectl: Path) -> None:
    full = "0/3 nodes are available: 3 Insufficient memory."
    kubectl.write_text(json.dumps({"items": [workflow(), pod("make-cohort.executor", "Pending", **unscheduled(full))]}))
    kfp.plots = [(("RUNNING", [task("make-cohort", "PENDING")]),)]
    flprivacy(*STUDY, "--no-wait")
    (run,) = kfp.runs
    output = flprivacy("runs", "show", run).output
    assert "make-cohort" in output
    assert f"waiting:    make-cohort: waits, Unschedulable: {full}" in output


def test_a_pending_pod_shows_its_reason_while_the_run_is_watched(
    kfp: KfpState, flprivacy: Command, kubectl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flprivacy.cluster.watching.WAITS_SECONDS", 0.0)
    items = [workflow(), pod("make-cohort.executor", "Pending", **unscheduled("no GPU"))]
    kubectl.write_text(json.dumps({"items": items}))
    kfp.plots = [(*[("RUNNING", [task("make-cohort", "PENDING")])] * 3, ("SUCCEEDED", []))]
    assert flprivacy(*STUDY).output.count("waiting: make-cohort: waits, Unschedulable: no GPU") == 1


def test_a_run_is_stopped(kfp: KfpState, flprivacy: Command) -> None:
    flprivacy(*STUDY, "--no-wait")
    (run,) = kfp.runs
    assert "stopping:" in flprivacy("runs", "stop", run).output
    assert "canceled: http" in flprivacy("runs", "watch", run, "--poll", "0", code=3).output
    assert "not found (404)" in flprivacy("runs", "stop", "nothing", code=2).output


def test_failed_runs_of_the_last_period_are_told_once_with_their_cause(
    kfp: KfpState, flprivacy: Command, kubectl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, object]] = []
    monkeypatch.setattr("flprivacy.steps.notify._post", lambda url, body: told.append(json.loads(body)))
    monkeypatch.setenv("FLPRIVACY_WEBHOOK_URL", "https://chat.example.org/hooks/very-secret")
    kubectl.write_text(json.dumps({"items": KILLED}))
    now = datetime.now(UTC)
    begin, end = last_period(now, timedelta(hours=1))
    assert (end - begin, end.minute, now - end < timedelta(hours=1)) == (timedelta(hours=1), 0, True)
    kfp.plots = [_failed("train-target")]
    for name in ("late", "early", "now"):
        flprivacy(*STUDY, "--no-wait", "--run-name", name)
    ends = {"late": end - timedelta(seconds=1), "early": begin - timedelta(seconds=1), "now": end}
    for run in kfp.runs.values():
        run |= {"state": "FAILED", "finished_at": f"{ends[run['display_name']]:%Y-%m-%dT%H:%M:%SZ}"}
    output = flprivacy("runs", "tell", "--every", "60").output
    (message,) = told
    assert (message["name"], message["kind"]) == ("late", "flprivacy.failed_run")
    assert str(message["text"]).startswith(
        "flprivacy: flprivacy-study 'late' failed: train-target (central): out of mem"
    )
    assert message["link"] in str(message)
    assert "very-secret" not in output + str(message)
    monkeypatch.delenv("FLPRIVACY_WEBHOOK_URL")
    assert "FLPRIVACY_WEBHOOK_URL is not a URL" in flprivacy("runs", "tell", code=2).output
