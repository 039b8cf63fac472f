"""The conformance run: what it needs, how it ends, and its cases against the stand-in of Kubeflow's API."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from flprivacy.cli import main as command_line
from tests.cluster.conftest import kfp
from tests.cluster.kubernetes_objects import node, pod, terminated, workflow
from tests.conformance import cases
from tests.conformance.installation import Done, Installation, NotConformingError
from tests.conformance.run import lacking, main, run_cases
from tests.services.kfp_state import KfpState, task

__all__ = ["kfp"]


@pytest.fixture
def there(kfp: KfpState, tmp_path: Path) -> Installation:
    """An installation that is the stand-in."""

    def command(words: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
        pace = ("--poll", "0") if words[0] == "submit" or words[:2] in (("runs", "watch"), ("schedule", "run")) else ()
        where = ("--host", kfp.url) if words[0] in ("submit", "runs", "schedule") else ()
        done = CliRunner().invoke(command_line, [*words, *pace, *where], env=dict(environment))
        return done.exit_code, done.output

    return Installation(store=tmp_path.as_uri(), command=command, work=tmp_path)


def test_without_an_endpoint_it_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("KFP_ENDPOINT", "FLPRIVACY_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert main([]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in ("KFP_ENDPOINT: address", "FLPRIVACY_STORE: s3://", "kubectl: with access"))
    assert len(lacking()) == 3


def test_it_ends_with_a_table_of_what_fits_and_what_does_not(there: Installation) -> None:
    def broken(there: Installation) -> str:
        raise NotConformingError("exit code 3 instead of 0")

    def dead(there: Installation) -> str:
        raise OSError("no network")

    screen = Console(file=io.StringIO(), width=120)
    found = run_cases(there, {"good": lambda _: "seen", "broken": broken, "dead": dead}, screen)
    assert [(one.case, one.fits) for one in found] == [("good", True), ("broken", False), ("dead", False)]
    assert isinstance(screen.file, io.StringIO)
    rows = [line for line in screen.file.getvalue().splitlines() if "✓" in line or "✗" in line]
    assert ["seen" in rows[0], "exit code 3" in rows[1], "OSError: no network" in rows[2]] == [True] * 3


def test_every_pipeline_and_failure_has_its_case() -> None:
    assert {"study", "privacy_audit", "re_audit, and nothing new", "train_generator", "dp_check"} <= set(cases.CASES)
    assert {"out of memory", "a target that is out of memory", "a pod that is lost"} <= set(cases.CASES)
    assert len(cases.CASES) == 18
    assert all(case.__doc__ for case in cases.CASES.values())


@pytest.mark.parametrize("case", [cases.study, cases.too_many_targets, cases.interrupted_watch, cases.schedule])
def test_an_installation_that_does_it_fits(there: Installation, case: cases.Case) -> None:
    assert case(there)


def test_a_study_that_fails_does_not(there: Installation, kfp: KfpState) -> None:
    kfp.plots = [(("FAILED", [task("evaluate", "FAILED")]),)]
    with pytest.raises(NotConformingError, match="exit code 3 instead of 0"):
        cases.study(there)


def test_a_killed_step_must_say_why(
    there: Installation, kfp: KfpState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = [
        workflow(node("make-cohort.executor", "Failed", message="main: Error (exit code 1)"), phase="Failed"),
        pod("make-cohort.executor", "Failed", **terminated("OOMKilled", 137)),
    ]
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    (tmp_path / "answer.json").write_text(json.dumps({"items": killed}))
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/answer.json\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    kfp.plots = [(("FAILED", [task("make-cohort", "FAILED")]),)] * 2
    assert "told after" in cases.out_of_memory(there)
    (tmp_path / "answer.json").write_text(json.dumps({"items": []}))
    with pytest.raises(NotConformingError, match="does not say 'out of memory'"):
        cases.out_of_memory(there)


def test_a_command_that_took_too_long_does_not_fit() -> None:
    done = Done(code=0, output="well", seconds=90.0)
    assert done.need("well") == "well"
    with pytest.raises(NotConformingError, match="took 90 s instead of 60"):
        done.need("well", within_seconds=60.0)
