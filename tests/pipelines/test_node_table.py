"""How large a run grows that Kubernetes stores: an installation stops telling at 1 MiB, and stops at as much packed."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from flprivacy.core.errors import ConfigError
from flprivacy.core.reference_scores import ReferenceJob
from flprivacy.steps.plan_references import NO_REFERENCE
from flprivacy.steps.resolve_inputs import resolve_inputs
from flprivacy.study.plan import MOST_RESULTS, MOST_TRAINED, MOST_TRAINED_WITH_REFERENCES, Plan, check_number
from flprivacy.study.references import reference_jobs
from flprivacy.training.config import TargetConfig
from tests.audit_plan import audit_plan
from tests.services.node_table import MOST_BYTES, NodeTable, node_table

COMPILED = Path(__file__).parents[2] / "pipelines" / "compiled"
MOST_OF_AN_ARGUMENT = 128 * 1024  # bytes, Linux
REST = 120_000  # bytes of a run beside its nodes, templates above all: on KFP 2.17.0 77 kB of an audit, 117 of a study


def _audit(targets: int, references: int = 0, pipeline: str = "privacy_audit") -> NodeTable:
    """Return the table of an audit of targets of one architecture."""
    names = [f"target-{number:03d}" for number in range(targets)]
    given: dict[str, Any] = {name: f"s3://hospital-models/published/{name}" for name in names}
    if len(json.dumps(given)) > 8000:
        given = {"@": f"s3://hospital-data/flprivacy/configs/{64 * 'a'}/targets.json#{64 * 'a'}"}
    jobs = [ReferenceJob(target=names[0], index=number).name for number in range(references)]
    lists = {"plan-audit.Output": ["untrained-i3d", *names, *jobs]}
    parameters = {"cohort": "s3://hospital-data/cohort", "targets": given, "store": "s3://hospital-data/flprivacy"}
    return node_table(COMPILED / f"{pipeline}.yaml", parameters, lists)


def _study(targets: int, references: int = 0) -> NodeTable:
    """Return the table of a study, its generator's steps included."""
    jobs = [asdict(ReferenceJob(target="target-000", index=number)) for number in range(references)]
    lists = {
        "plan-study.Output": [f"target-{number:03d}" for number in range(targets)],
        "plan-references.Output": jobs or [asdict(NO_REFERENCE)],
    }
    return node_table(COMPILED / "study.yaml", {"store": "s3://hospital-data/flprivacy"}, lists)


def _longest_argument(table: NodeTable, step: str) -> int:
    """Return the longest word on the command line of a step, in bytes."""
    (node,) = [one for one in table.nodes.values() if one["name"].endswith(f".{step}.executor")]
    (patch,) = [one["value"] for one in node["inputs"]["parameters"] if one["name"] == "pod-spec-patch"]
    return max(len(word.encode()) for word in json.loads(patch)["containers"][0]["command"])


def test_two_targets_are_told_by_every_page() -> None:
    table = _audit(2)
    assert 85 < len(table.nodes) < 100
    assert table.stored_bytes() < 560_000
    assert _audit(7).stored_bytes() + REST < MOST_BYTES


def test_as_many_targets_as_a_run_takes_are_stored_and_evaluated() -> None:
    most = MOST_TRAINED_WITH_REFERENCES
    studies = (_study(MOST_TRAINED, most - MOST_TRAINED), _study(8, most - 8))
    for table in (_audit(MOST_RESULTS - 1), _audit(40, MOST_RESULTS - 41), *studies):
        assert table.compressed_bytes() + REST < MOST_BYTES
        assert _longest_argument(table, "evaluate") < MOST_OF_AN_ARGUMENT
    assert MOST_RESULTS > 200


def test_three_hundred_targets_are_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    many = {f"target-{number}": "s3://bucket/nothing" for number in range(300)}
    with pytest.raises(ConfigError, match=r"^300 targets and baselines: a run takes 205 in all.*split the targets"):
        resolve_inputs(cohort="s3://bucket/nothing", targets=many)
    plan = Plan.read(audit_plan(tmp_path / "plan.json", sources=dict.fromkeys(map(str, range(205)), "s3://b/x")))
    with pytest.raises(ConfigError, match="206 targets and baselines: a run takes 205"):
        reference_jobs(plan)
    study = replace(plan.study, targets={f"t{n}": TargetConfig(topology="central") for n in range(61)})
    with pytest.raises(ConfigError, match="61 targets to train: a run takes 60 targets, and 120 with"):
        reference_jobs(Plan(pipeline="study", command="", study=study))
    with pytest.raises(ConfigError, match="20 targets and 101 reference models to train"):
        check_number(20, 101, trains=True)
    check_number(20, 100, trains=True)


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
