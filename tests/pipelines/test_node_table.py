"""How large a run grows that Kubernetes stores: an installation stops telling at 1 MiB, and stops at as much packed."""

import json
from pathlib import Path
from typing import Any

import pytest

from flprivacy.core.errors import ConfigError
from flprivacy.core.parts import WITHOUT_MODEL, deal
from flprivacy.core.reference_scores import ReferenceJob
from flprivacy.steps.resolve_inputs import resolve_inputs
from flprivacy.study.plan import MOST_PARTS, MOST_RESULTS, Plan, check_number
from flprivacy.study.references import reference_jobs
from tests.audit_plan import audit_plan
from tests.services.node_table import MOST_BYTES, NodeTable, node_table

COMPILED = Path(__file__).parents[2] / "pipelines" / "compiled"
MOST_OF_AN_ARGUMENT = 128 * 1024  # bytes, Linux
REST = 120_000  # bytes of a run beside its nodes, templates above all: on KFP 2.17.0 77 kB of an audit, 117 of a study


def _named(number: int) -> str:
    return f"chest-ct-site-{number:03d}-v2026.11.17"


def _audit(targets: int, references: int = 0, pipeline: str = "privacy_audit") -> NodeTable:
    """Return the table of an audit of targets of one architecture."""
    names = [_named(number) for number in range(targets)]
    given: dict[str, Any] = {name: f"s3://hospital-models/published/{name}" for name in names}
    if len(json.dumps(given)) > 8000:
        given = {"@": f"s3://hospital-data/flprivacy/configs/{64 * 'a'}/targets.json#{64 * 'a'}"}
    jobs = [ReferenceJob(target=names[0], index=number).name for number in range(references)]
    parts = deal([WITHOUT_MODEL, "untrained-i3d", *names, *jobs], min(MOST_PARTS, targets + references))
    parameters = {"cohort": "s3://hospital-data/cohort", "targets": given, "store": "s3://hospital-data/flprivacy"}
    return node_table(COMPILED / f"{pipeline}.yaml", parameters, {"plan-audit.Output": parts})


def _study(targets: int, references: int = 0) -> NodeTable:
    """Return the table of a study, its generator's step included."""
    jobs = [ReferenceJob(target=_named(0), index=number).name for number in range(references)]
    parts = deal([WITHOUT_MODEL, *map(_named, range(targets)), *jobs], MOST_PARTS)
    return node_table(COMPILED / "study.yaml", {"store": "s3://hospital-data/flprivacy"}, {"plan-study.Output": parts})


def _longest_argument(table: NodeTable, step: str) -> int:
    """Return the longest word on the command line of a step, in bytes."""
    (node,) = [one for one in table.nodes.values() if one["name"].endswith(f".{step}.executor")]
    (patch,) = [one["value"] for one in node["inputs"]["parameters"] if one["name"] == "pod-spec-patch"]
    return max(len(word.encode()) for word in json.loads(patch)["containers"][0]["command"])


@pytest.mark.parametrize("pipeline", ["privacy_audit", "re_audit"])
@pytest.mark.parametrize("targets", [1, 2, 8, 9, 50, 200, MOST_RESULTS - 1])
def test_however_many_targets_are_told_by_every_page(pipeline: str, targets: int) -> None:
    table = _audit(targets, pipeline=pipeline)
    assert table.stored_bytes() + REST < MOST_BYTES
    assert _longest_argument(table, "evaluate") < MOST_OF_AN_ARGUMENT


def test_two_targets_take_what_is_said_of_them() -> None:
    """docs/operations.md says so."""
    table = _audit(2)
    assert 70 < len(table.nodes) < 85
    assert table.stored_bytes() < 440_000


@pytest.mark.parametrize(("targets", "references"), [(5, 0), (8, 36), (60, MOST_RESULTS - 60)])
def test_so_are_studies(targets: int, references: int) -> None:
    table = _study(targets, references)
    assert table.stored_bytes() + REST < MOST_BYTES
    assert _longest_argument(table, "evaluate") < MOST_OF_AN_ARGUMENT


def test_three_hundred_targets_are_split_over_pods_and_more_than_one_run_evaluates_are_refused(tmp_path: Path) -> None:
    assert _audit(300).stored_bytes() + REST < MOST_BYTES
    many = {f"target-{number}": "s3://bucket/nothing" for number in range(501)}
    with pytest.raises(ConfigError, match=r"^501 targets and baselines: a run takes 500 in all; split the targets"):
        resolve_inputs(cohort="s3://bucket/nothing", targets=many)
    plan = Plan.read(audit_plan(tmp_path / "plan.json", sources=dict.fromkeys(map(str, range(500)), "s3://b/x")))
    with pytest.raises(ConfigError, match="501 targets and baselines: a run takes 500"):
        reference_jobs(plan)
    with pytest.raises(ConfigError, match="20 targets and baselines and 481 reference models: a run takes 500"):
        check_number(20, 481)
    check_number(20, 480)


def test_a_step_carries_what_it_needs_and_no_more() -> None:
    """A pod's patch stands six times in the table: at the driver, the step and its pod, each with its retries."""
    table = _audit(2)
    patches = {
        node["name"].split(".")[-2]: one["value"]
        for node in table.nodes.values()
        if node["name"].endswith(".executor")
        for one in node["inputs"]["parameters"]
        if one["name"] == "pod-spec-patch"
    }
    assert len(patches["attack-target"]) < 5_200
    for name, patch in patches.items():
        assert "valueFrom" not in patch, name
