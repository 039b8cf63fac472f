"""A step on one target fails alone: refusals at once, what may pass only at the last try."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flprivacy.core.errors import StorageError, TargetError, TrainingError
from flprivacy.core.publish import publish_folder
from flprivacy.execution.isolation import (
    FAILURE_FILE,
    RETRIES,
    RETRY_VARIABLE,
    need_success,
    read_failure,
    run_target_step,
)


def run(step: Callable[..., Any], out: Path, **arguments: Any) -> Any:
    return run_target_step(step, {"target_name": "a", "out": out, **arguments}, [out])


def works(*, target_name: str, out: Path) -> str:
    with publish_folder(out) as partial:
        (partial / "x").write_text("made")
    return "result"


def attacks(*, target_name: str, target: Path, out: Path) -> None:
    raise AssertionError


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


@pytest.mark.parametrize("index", [None, "0", str(RETRIES)])
def test_a_refusal_is_recorded_at_the_first_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str | None
) -> None:
    _try_number(monkeypatch, index)
    assert run(refuses, tmp_path / "out") is None
    failure = read_failure(tmp_path / "out")
    assert failure is not None
    assert (failure.target, failure.step, failure.transient) == ("a", "refuses", False)
    assert failure.reason == "out: not a target"
    assert [f.name for f in (tmp_path / "out").iterdir()] == [FAILURE_FILE]
    with pytest.raises(TrainingError, match="a: refuses failed: out: not a target"):
        need_success(tmp_path / "out")


def test_what_may_pass_is_left_to_the_cluster_until_its_last_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(RETRIES):
        _try_number(monkeypatch, str(index))
        with pytest.raises(SystemExit) as ended:
            run(away, tmp_path / "out")
        assert ended.value.code == 2
        assert "s3://b/x: no answer" in capsys.readouterr().err
        with pytest.raises(RuntimeError, match="MUELLER"):
            run(breaks, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    for index in (str(RETRIES), None):  # the last try; a machine without tries
        _try_number(monkeypatch, index)
        for number, step in enumerate((away, breaks)):
            out = tmp_path / f"{index}-{number}"
            assert run(step, out) is None
            failure = read_failure(out)
            assert failure is not None
            assert failure.transient


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


def test_the_next_step_passes_a_failure_on_without_running(tmp_path: Path) -> None:
    run(refuses, tmp_path / "trained")
    assert run(attacks, tmp_path / "scores", target=tmp_path / "trained") is None
    assert read_failure(tmp_path / "scores") == read_failure(tmp_path / "trained")
    assert not (tmp_path / "scores" / "x").exists()


def _try_number(monkeypatch: pytest.MonkeyPatch, index: str | None) -> None:
    if index is None:
        monkeypatch.delenv(RETRY_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(RETRY_VARIABLE, index)


def test_a_reference_that_fails_is_told_as_its_targets(tmp_path: Path) -> None:
    run_target_step(refuses, {"target_name": "central@sites-3", "out": tmp_path / "out"}, [tmp_path / "out"])
    failure = read_failure(tmp_path / "out")
    assert failure is not None
    assert (failure.target, failure.step, failure.reason) == ("central", "train_reference", "out: not a target")
