"""Steps leave how a run went in its store, where its last step finds it whatever became of the others."""

import json
from pathlib import Path

import pytest

from flprivacy.core.errors import PolicyError, StorageError, TargetError
from flprivacy.execution import run_step
from flprivacy.execution.container import run_in_container
from flprivacy.execution.ends import Failure, leave_failure, leave_result, read_end
from flprivacy.execution.passing import REFERENCE_FILE, Open, Reference
from flprivacy.storage.places import STORE_VARIABLE
from tests.execution.test_container import task

RUN = "7f9c2a41"


def _task_of_a_backend(folder: Path, **parameters: str) -> str:
    """Return an executor input whose files are where Kubeflow has them: ``root/pipeline/run/task/execution/file``."""
    given = task(folder, parameters, {}, {"executor-logs": "system.Artifact"})
    (logs,) = given["outputs"]["artifacts"]["executor-logs"]["artifacts"]
    logs["uri"] = f"s3://kfp/v2/re-audit/{RUN}/work/1/executor-logs"
    given["outputs"]["outputFile"] = str(folder / "v2" / "re-audit" / RUN / "work" / "1" / "output_metadata.json")
    return json.dumps(given)


def test_the_last_result_counts_and_each_failure_once(tmp_path: Path) -> None:
    store = str(tmp_path)
    assert read_end(RUN, store).failures == ()
    for failure in (Failure(step="evaluate", reason="away"), Failure(step="attack_target", target="a", reason="lost")):
        leave_failure(failure, run=RUN, store=store)
        leave_failure(failure, run=RUN, store=store)
    leave_failure(Failure(step="x", reason="of another run"), run="other", store=store)
    end = read_end(RUN, store)
    assert end.result == {}
    assert list(map(str, end.failures)) == ["evaluate: away", "attack_target of a: lost"]
    leave_result({"text": "first"}, run=RUN, store=store)
    leave_result({"text": "second"}, run=RUN, store=store)
    assert read_end(RUN, store).result == {"text": "second"}


def test_after_a_result_only_what_failed_since_counts(tmp_path: Path) -> None:
    """What failed before was tried again and succeeded, or there would be no result."""
    store, lost = str(tmp_path), Failure(step="report_audit", reason="lost its node")
    leave_failure(Failure(step="attack_target", target="a", reason="away"), run=RUN, store=store)
    leave_failure(lost, run=RUN, store=store)
    leave_result({"text": "first"}, run=RUN, store=store)
    assert read_end(RUN, store).failures == ()
    leave_failure(lost, run=RUN, store=store)  # once it had left its result
    assert read_end(RUN, store).failures == (lost,)
    leave_result({"text": "second"}, run=RUN, store=store)
    leave_failure(Failure(step="check_policy", reason="a leak"), run=RUN, store=store)
    end = read_end(RUN, store)
    assert (end.result, list(map(str, end.failures))) == ({"text": "second"}, ["check_policy: a leak"])


def test_what_failed_last_is_told_last(tmp_path: Path) -> None:
    one, other = Failure(step="a", reason="x"), Failure(step="b", reason="y")
    for failure in (one, other, one):
        leave_failure(failure, run=RUN, store=str(tmp_path))
    assert read_end(RUN, str(tmp_path)).failures == (other, one)


def test_without_a_run_nothing_is_left(tmp_path: Path) -> None:
    leave_result({"text": "x"}, run="", store=str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_what_is_no_note_is_named(tmp_path: Path) -> None:
    leave_result({"text": "x"}, run=RUN, store=str(tmp_path))
    (note,) = (tmp_path / "ends" / RUN).iterdir()
    note.write_text("{")
    with pytest.raises(StorageError, match=rf"{note.name}: is no note of a step .*; remove it"):
        read_end(RUN, str(tmp_path))


def test_a_store_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    leave_result({"text": "x"}, run=RUN, store=str(tmp_path / "file"))
    assert "how the run went is not noted for the webhook" in caplog.text


def test_on_a_backend_a_step_leaves_why_it_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flprivacy.execution.container._MOUNTS", {"s3://": f"{tmp_path}/s3/"})
    monkeypatch.setattr(run_step, "_said", [])
    store = f"file://{tmp_path}/store"

    def refuses(*, store: str, name: str) -> None:
        raise TargetError(f"{name}: is no target; give its folder")

    def breaks() -> None:
        raise RuntimeError("Jane Doe, born in 1950")

    with pytest.raises(SystemExit):
        run_in_container(refuses, _task_of_a_backend(tmp_path, store=f" {store} ", name="s3://m/x"))
    monkeypatch.setenv(STORE_VARIABLE, store)
    with pytest.raises(RuntimeError):
        run_in_container(breaks, _task_of_a_backend(tmp_path))
    left = "refuses: s3://m/x: is no target; give its folder", "breaks: breaks broke: RuntimeError; its log says where"
    assert tuple(map(str, read_end(RUN, store).failures)) == left


def test_a_step_without_a_store_leaves_it_where_its_inputs_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So do check_policy and check_change, which are given an audit and nothing else."""
    monkeypatch.setattr("flprivacy.execution.container._MOUNTS", {"s3://": f"{tmp_path}/s3/"})

    def refuses(*, plan: Open, audit: Open) -> None:
        raise PolicyError("3 attacks leak")

    given = json.loads(_task_of_a_backend(tmp_path))
    for name in ("plan", "audit"):
        (tmp_path / name).mkdir()
        given["inputs"]["artifacts"][name] = {"artifacts": [{"name": name, "uri": str(tmp_path / name)}]}
    store = f"file://{tmp_path}/store"
    Reference(store=store, parts=()).write(tmp_path / "audit" / REFERENCE_FILE)
    with pytest.raises(SystemExit):
        run_in_container(refuses, json.dumps(given))
    assert list(map(str, read_end(RUN, store).failures)) == ["refuses: 3 attacks leak"]
    (tmp_path / "audit" / REFERENCE_FILE).write_text("{")  # then nobody can be told, and the step ends as ever
    with pytest.raises(SystemExit) as ended:
        run_in_container(refuses, json.dumps(given))
    assert ended.value.code == PolicyError.exit_code


def test_on_this_machine_the_terminal_tells(tmp_path: Path) -> None:
    def refuses(*, store: str) -> None:
        raise TargetError("no")

    store = f"file://{tmp_path}/store"
    with pytest.raises(SystemExit):
        run_in_container(refuses, json.dumps(task(tmp_path, {"store": store}, {}, {})))
    assert not (tmp_path / "store").exists()
