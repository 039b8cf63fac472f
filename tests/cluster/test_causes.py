"""Why a step failed or waits is found in what Kubernetes keeps of a run."""

from datetime import datetime, timedelta

import pytest

from flprivacy.cluster.causes import find_causes, read_causes
from tests.cluster.kubernetes_objects import CREATED, held, node, pod, terminated, unscheduled, workflow

BEGAN = datetime.fromisoformat(CREATED)
LATER = BEGAN + timedelta(minutes=2)
REFUSED = "s3://models/a: no such object; check the URI"


@pytest.mark.parametrize("packed", [False, True])
def test_a_step_s_own_words_come_first(packed: bool) -> None:
    failed = node("train-target.executor", "Failed", message="main: Error (exit code 1)")
    items = [
        workflow(node("plan-study.executor", "Succeeded"), failed, phase="Failed", packed=packed),
        pod("plan-study.executor", "Succeeded", **terminated("Completed", 0)),
        pod("train-target.executor", "Failed", target="central", **terminated("Error", 1, f"{REFUSED}\n")),
    ]
    (cause,) = find_causes(items, LATER).failed
    assert str(cause) == f"train-target (central): {REFUSED}"
    assert cause.log == "kubectl -n kubeflow logs pod-train-target -c main"


def test_of_a_step_that_left_no_word_the_log_is_named() -> None:
    """As where Kubeflow's launcher fails after the step: its outputs could not be stored."""
    items = [
        workflow(node("find-targets.executor", "Failed", message="main: Error (exit code 1)")),
        pod("find-targets.executor", "Failed", **terminated("Error", 1)),
    ]
    (cause,) = find_causes(items, LATER).failed
    assert str(cause) == "find-targets: main: Error (exit code 1)"
    assert cause.log == "kubectl -n kubeflow logs pod-find-targets -c main"


def test_out_of_memory_is_named_with_its_remedy() -> None:
    items = [
        workflow(node("attack-target.executor", "Failed", message="main: OOMKilled (exit code 137)")),
        pod("attack-target.executor", "Failed", **terminated("OOMKilled", 137)),
    ]
    assert "out of memory" in find_causes(items, LATER).failed[0].text
    gone = find_causes(items[:1], LATER).failed[0]  # the pod was cleaned up: the Workflow still knows
    assert (gone.step, "out of memory" in gone.text, gone.log) == ("attack-target", True, "")


def test_a_driver_and_an_invalid_pod_are_told_of_from_the_workflow() -> None:
    quantity = "quantities must match the regular expression"
    items = [
        workflow(
            node("train-target-driver", "Error", message=quantity),
            node("for-loop-1.iteration-item-0", "Failed", kind="DAG", message="child failed"),
        )
    ]
    assert [str(cause) for cause in find_causes(items, LATER).failed] == [f"train-target: {quantity}"]
    nothing_began = [workflow(phase="Error", message='serviceaccounts "nobody" not found')]
    assert str(find_causes(nothing_began, LATER).failed[0]) == 'run: serviceaccounts "nobody" not found'


@pytest.mark.parametrize(("end", "expected"), [("Succeeded", []), ("Failed", ["train-target: second"])])
def test_of_several_attempts_the_last_counts(end: str, expected: list[str]) -> None:
    attempts = [
        node(f"train-target.executor({n})", phase, message=message, startedAt=f"2026-01-02T03:0{n}:00Z")
        for n, phase, message in ((0, "Error", "pod deleted"), (1, end, "second" if end == "Failed" else ""))
    ]
    retry = node("train-target.executor", end, kind="Retry", children=[one["id"] for one in attempts])
    assert [str(cause) for cause in find_causes([workflow(retry, *attempts)], LATER).failed] == expected


def test_a_pod_that_does_not_begin_says_why_after_a_minute() -> None:
    full = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    image = 'Back-off pulling image "registry.example.org/audit:1"'
    items = [
        workflow(),
        pod("train-target.executor", "Pending", target="central", **unscheduled(full)),
        pod("make-cohort.executor", "Pending", **held("ImagePullBackOff", image)),
        pod("plan-study.executor", "Pending", **held("ContainerCreating", "")),  # slow, but nothing is wrong
        pod("evaluate.executor", "Running"),
    ]
    waiting = find_causes(items, LATER).waiting
    assert [str(cause) for cause in waiting] == [
        f"train-target (central): waits, Unschedulable: {full}",
        f"make-cohort: waits, ImagePullBackOff: {image}",
    ]
    assert find_causes(items, BEGAN + timedelta(seconds=30)).waiting == ()


def test_a_run_that_goes_well_has_no_cause() -> None:
    items = [workflow(node("plan-study.executor", "Succeeded"), phase="Running"), pod("plan-study.executor", "Running")]
    assert find_causes(items, LATER).failed == find_causes(items, LATER).waiting == ()


def test_without_kubectl_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert read_causes("r1").unread == "kubectl is not installed here"
