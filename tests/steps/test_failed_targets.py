"""Evaluate and the policy, when a step on a target failed before them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flprivacy.core.artifacts import AUDIT_FILE
from flprivacy.core.audit import Audit, TargetFailure
from flprivacy.core.errors import AuditError
from flprivacy.core.parsing import to_mapping
from flprivacy.core.parts import WITHOUT_MODEL
from flprivacy.execution.isolation import FAILURE_FILE
from flprivacy.steps.check_policy import check_policy
from flprivacy.steps.evaluate import _failures as failures_of
from flprivacy.steps.evaluate import _lacking as lacking
from flprivacy.steps.evaluate import evaluate
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan
from flprivacy.training.config import TargetConfig
from tests.cohorts.tiny_cohort import write_tiny

LOST = TargetFailure(target="central", step="train_target", reason="out of memory", transient=True)


def _failed(folder: Path, failure: TargetFailure) -> Path:
    folder.mkdir()
    (folder / FAILURE_FILE).write_text(json.dumps(to_mapping(failure)))
    return folder


def _evaluate(tmp_path: Path, failure: TargetFailure) -> None:
    targets = {"central": TargetConfig(topology="central"), "fresh": TargetConfig(topology="untrained")}
    Plan(pipeline="study", command="", study=StudyConfig(name="x", targets=targets)).write(tmp_path / "plan.json")
    evaluate(
        plan=tmp_path / "plan.json",
        cohort=write_tiny(tmp_path / "cohort").folder,
        target_scores=(_failed(tmp_path / "failed", failure), tmp_path),
        store=str(tmp_path / "store"),
        audit=tmp_path / "out",
    )


@pytest.mark.parametrize("transient", [True, False])
@pytest.mark.parametrize(
    ("whose", "told"),
    [
        ("central", "^central: out of memory"),
        (WITHOUT_MODEL, "without the attackers that have no model, which failed: out of memory"),
    ],
)
def test_nothing_can_be_said_if_every_target_failed_or_the_attackers_that_have_no_model(
    tmp_path: Path, whose: str, told: str, transient: bool
) -> None:
    again = r" \(to try again, raise the parameter 'try_again'\)" if transient else ""
    with pytest.raises(AuditError, match=f"{told}{again}$"):
        _evaluate(tmp_path, replace(LOST, target=whose, transient=transient))


def test_a_failed_baseline_is_missing_from_its_targets_and_from_no_others(tmp_path: Path) -> None:
    targets = {
        "central": TargetConfig(topology="central"),
        "large": TargetConfig(topology="central", architecture="i3d"),
        "fresh": TargetConfig(topology="untrained"),
        "fresh-large": TargetConfig(topology="untrained", architecture="i3d"),
    }
    run = Plan(pipeline="study", command="", study=StudyConfig(name="x", targets=targets))
    folders = [_failed(tmp_path / "failed", replace(LOST, target="fresh", reason="its features are constant"))]
    with pytest.raises(AuditError, match="fresh: its features are constant"):
        failures_of(folders, (), run)  # without any target there is nothing to judge
    failure = replace(LOST, target="fresh", reason="its features are constant", role="baseline")
    assert lacking(run, [failure, LOST], {}) == {
        "central": "baseline 'fresh', which could explain it, failed: its features are constant",
        "fresh": "baseline 'fresh', which could explain it, failed: its features are constant",
    }


@pytest.mark.parametrize("transient", [True, False])
def test_the_run_fails_at_its_end(tmp_path: Path, transient: bool) -> None:
    audit = Audit(
        name="x", cohort_name="c", cohort_digest="", cohort={}, config={}, targets=(), metrics=(), excesses=(),
        verdicts=(), confusions=(), scatters=(), curves=(), failures=(replace(LOST, transient=transient),),
    )  # fmt: skip
    audit.write(tmp_path / AUDIT_FILE)
    with pytest.raises(AuditError, match=r"1 target\(s\) could not be audited.*central: out of memory") as caught:
        check_policy(audit=tmp_path, report=tmp_path)
    assert ("raise the parameter 'try_again'" in str(caught.value)) == transient
    fresh = replace(LOST, target="fresh", role="baseline")
    replace(audit, failures=(fresh,)).write(tmp_path / AUDIT_FILE)
    with pytest.raises(AuditError, match=r"1 target\(s\) or baseline\(s\) could not be audited"):
        check_policy(audit=tmp_path, report=tmp_path)
    broken = replace(LOST, target="generator", role="generator")
    replace(audit, failures=(LOST, broken)).write(tmp_path / AUDIT_FILE)
    with pytest.raises(AuditError, match=r"1 target\(s\) and the generator could not be audited, the others were"):
        check_policy(audit=tmp_path, report=tmp_path)
    replace(audit, failures=()).write(tmp_path / AUDIT_FILE)
    assert check_policy(audit=tmp_path, report=tmp_path) == 0
