"""A step on one target fails alone, whatever was wrong."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flprivacy.core.errors import StorageError, TargetError, TrainingError
from flprivacy.core.events import ENVIRONMENT_VARIABLE, EventReader
from flprivacy.core.publish import publish_folder
from flprivacy.execution.apart import LostProcessError, how_it_ended
from flprivacy.execution.isolation import (
    FAILURE_FILE,
    in_phases,
    leave_lost,
    need_success,
    phase,
    read_failure,
    read_generator_failure,
    run_for_generator,
    run_target_step,
)
from flprivacy.study.references import is_of_reference


def run(step: Callable[..., Any], out: Path, **arguments: Any) -> Any:
    return run_target_step(step, {"target_name": "a", "out": out, **arguments}, [out])


def works(*, target_name: str, out: Path) -> str:
    with publish_folder(out) as partial:
        (partial / "x").write_text("made")
    return "result"


def refuses(*, target_name: str, out: Path) -> str:
    raise TargetError(f"{out.name}: not a target")


def away(*, target_name: str, out: Path) -> str:
    raise StorageError("s3://b/x: no answer")


def breaks(*, target_name: str, out: Path) -> str:
    with publish_folder(out) as partial:
        (partial / "half").write_text("")
        raise RuntimeError("patient MUELLER")


def test_a_step_that_works_leaves_its_output(tmp_path: Path) -> None:
    assert run(works, tmp_path / "out") == "result"
    assert (tmp_path / "out" / "x").read_text() == "made"
    assert read_failure(tmp_path / "out") is None
    need_success(tmp_path / "out")


def test_a_refusal_is_recorded(tmp_path: Path) -> None:
    assert run(refuses, tmp_path / "out") is None
    failure = read_failure(tmp_path / "out")
    assert failure is not None
    assert (failure.target, failure.step, failure.transient) == ("a", "refuses", False)
    assert failure.reason == "out: not a target"
    assert [f.name for f in (tmp_path / "out").iterdir()] == [FAILURE_FILE]
    with pytest.raises(TrainingError, match=r"a: refuses failed: out: not a target$"):
        need_success(tmp_path / "out")


@pytest.mark.parametrize("index", [None, "0"])
def test_what_may_pass_is_recorded_as_such_and_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str | None
) -> None:
    """A step that ends with an error is not tried again by Argo's stock defaults, whatever its count of tries says."""
    if index is not None:
        monkeypatch.setenv("KFP_RETRY_INDEX", index)
    for step in (away, breaks):
        out = tmp_path / step.__name__
        assert run(step, out) is None
        failure = read_failure(out)
        assert failure is not None
        assert failure.transient
        with pytest.raises(TrainingError, match=r"\(to try again, raise the parameter 'try_again'\)$"):
            need_success(out)
        assert [file.name for file in out.iterdir()] == [FAILURE_FILE]


def test_what_fails_in_a_phase_has_failed_as_a_step_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @in_phases
    def trains_and_attacks(*, target_name: str, out: Path) -> None:
        with phase("train_target", target_name):
            pass
        with phase("attack_target", target_name):
            raise TargetError("not a target")

    (tmp_path / "events").mkdir()
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "events"))
    run(trains_and_attacks, tmp_path / "out")
    failure = read_failure(tmp_path / "out")
    assert failure is not None
    assert (failure.step, failure.target) == ("attack_target", "a")
    told = [(e["kind"], e["step"]) for e in EventReader(tmp_path / "events").read()]
    assert told == [
        ("step", "train_target"), ("done", "train_target"), ("step", "attack_target"), ("failed", "attack_target"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "said"), [(-9, r"was killed \(signal 9\); if its node ran out"), (3, "ended with code 3; its log says")]
)
def test_a_process_that_dies_leaves_a_failure_of_its_target(tmp_path: Path, code: int, said: str) -> None:
    leave_lost("attack_target", "a", code, [tmp_path / "out"])
    failure = read_failure(tmp_path / "out")
    assert failure is not None
    assert (failure.target, failure.transient) == ("a", True)
    assert re.search(said, failure.reason)


def test_a_reference_whose_process_dies_is_told_as_its_targets(tmp_path: Path) -> None:
    """The audit would take it for a target of that name."""
    leave_lost("attack_target", "central@patients-3", -9, [tmp_path / "out"])
    failure = read_failure(tmp_path / "out")
    assert failure is not None
    assert (failure.target, failure.step) == ("central", "train_reference")
    assert is_of_reference(tmp_path / "out")


def test_what_is_killed_while_it_trains_has_a_line_that_says_so(tmp_path: Path) -> None:
    def trains(*, target_name: str, out: Path) -> None:
        raise LostProcessError(how_it_ended(-9))

    run(trains, tmp_path / "out")
    failure = read_failure(tmp_path / "out")
    assert failure is not None
    assert failure.transient
    assert re.search(r"killed \(signal 9\); if its node ran out of memory", failure.reason)


def test_a_library_that_is_missing_is_recorded_with_the_extra_that_brings_it(tmp_path: Path) -> None:
    def lacks(**given: Any) -> None:
        raise ModuleNotFoundError("No module named 'keras'", name="keras")

    run(lacks, tmp_path / "target")
    run_for_generator("train_generator", lacks, inputs=(), output=tmp_path / "generator")
    for failure in (read_failure(tmp_path / "target"), read_generator_failure(tmp_path / "generator")):
        assert failure is not None
        assert "needs the extra 'train'" in failure.reason
        assert not failure.transient


def test_a_foreign_message_is_not_recorded(tmp_path: Path) -> None:
    run(breaks, tmp_path / "out")
    assert "MUELLER" not in (tmp_path / "out" / FAILURE_FILE).read_text()
    assert "RuntimeError" in json.loads((tmp_path / "out" / FAILURE_FILE).read_text())["reason"]


def test_an_interrupt_is_no_failure_of_the_target(tmp_path: Path) -> None:
    def interrupted(*, target_name: str, out: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupted, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_reference_that_fails_is_told_as_its_targets(tmp_path: Path) -> None:
    run_target_step(refuses, {"target_name": "central@sites-3", "out": tmp_path / "out"}, [tmp_path / "out"])
    failure = read_failure(tmp_path / "out")
    assert failure is not None
    assert (failure.target, failure.step, failure.reason) == ("central", "train_reference", "out: not a target")
