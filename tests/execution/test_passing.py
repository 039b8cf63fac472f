"""On a backend a step's output lies in the store, and what the backend copies names it; its reader gets it whole."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flprivacy.core.errors import TargetError, TrainingError
from flprivacy.core.publish import publish_folder
from flprivacy.execution import container
from flprivacy.execution.container import StepResult, run_in_container
from flprivacy.execution.isolation import GENERATOR_FAILURE_FILE, read_generator_failure, run_for_generator
from flprivacy.execution.passing import REFERENCE_FILE, Open, SharedStore
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import open_store
from tests.execution.test_container import task, written

SECRET = "pseudonym-17"


class Bucket:
    """The backend's own: steps read and write below ``folder``, by the paths of ``s3://kfp``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder / "s3" / "kfp", f"file://{folder}/store"

    def run(self, step: Callable[..., Any], inputs: dict[str, Any], outputs: list[str], **parameters: Any) -> Any:
        place = f"s3://kfp/{step.__name__}"
        given = task(self.folder.parent, parameters, inputs, dict.fromkeys(outputs, "system.Dataset"))
        for name in outputs:
            given["outputs"]["artifacts"][name]["artifacts"][0]["uri"] = f"{place}/{name}"
        run_in_container(step, json.dumps(given))
        return written(self.folder.parent)

    def names(self, place: str) -> list[str]:
        return sorted(path.relative_to(self.folder / place).as_posix() for path in (self.folder / place).rglob("*"))

    def holds(self, text: str) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setattr(container, "_MOUNTS", {"s3://": f"{tmp_path}/s3/"})
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "home"))
    return Bucket(tmp_path)


def score(*, store: str, scores: Path) -> StepResult:
    def make(work: Path, folder: Path) -> None:
        (folder / "inner").mkdir()
        (folder / "inner" / "table").write_text(SECRET)

    deliver(open_store(store).build("scores", {"of": "a test"}, make), scores)
    (scores / "audit.json").write_text("a mean")
    (scores / "target.json").write_text("counts")
    return StepResult(metadata={"scores": {"digest": "abc"}})


def attack(*, scores: Path, many: tuple[Path, ...], membership: Path) -> str:
    assert (scores / "inner" / "table").read_text() == SECRET
    assert [(one / "target.json").read_text() for one in many] == ["counts", "counts"]
    with publish_folder(membership) as partial:  # not in a store, and the step is told of none
        (partial / "list").write_text(f"{SECRET}, member")
    return "done"


def judge(*, audit: Open, plan: Open) -> str:
    assert not (audit / "inner").exists()
    plan.write_text("a plan")
    return (audit / "audit.json").read_text()


def test_what_is_a_patients_never_lies_in_the_backends_bucket(bucket: Bucket) -> None:
    told = bucket.run(score, {}, ["scores"], store=bucket.store)
    facts = told["artifacts"]["scores"]["artifacts"][0]["metadata"]
    assert facts == {"digest": "abc", "kept_in": bucket.store, "files": 2, "bytes": len(SECRET) + len("counts")}
    assert bucket.names("score/scores") == ["audit.json", REFERENCE_FILE]
    given = {"scores": "s3://kfp/score/scores", "many": ["s3://kfp/score/scores"] * 2}
    told = bucket.run(attack, given, ["membership"])
    assert told["parameterValues"] == {"Output": "done"}
    assert bucket.names("attack/membership") == [REFERENCE_FILE]
    told = bucket.run(judge, {"audit": "s3://kfp/score/scores"}, ["plan"])
    assert told["parameterValues"] == {"Output": "a mean"}
    assert (bucket.folder / "judge" / "plan").read_text() == "a plan"
    assert bucket.holds(SECRET) == []


def test_what_the_store_has_already_is_not_kept_twice(bucket: Bucket, tmp_path: Path) -> None:
    bucket.run(score, {}, ["scores"], store=bucket.store)
    parts = json.loads((bucket.folder / "score" / "scores" / REFERENCE_FILE).read_text())["parts"]
    assert [part["kind"] for part in parts] == ["passed", "scores"]
    kept = [path.name for path in (tmp_path / "store" / "passed").rglob("*") if path.is_file()]
    assert kept == ["target.json"]


def test_a_step_that_adds_to_what_it_was_given_hands_the_same_parts_on(bucket: Bucket) -> None:
    def compare(*, audit: Path, compared: Path) -> None:
        deliver(audit, compared)
        (compared / "change.json").write_text("worse")

    bucket.run(score, {}, ["scores"], store=bucket.store)
    bucket.run(compare, {"audit": "s3://kfp/score/scores"}, ["compared"])
    assert bucket.names("compare/compared") == ["audit.json", "change.json", REFERENCE_FILE]
    before, after = (bucket.folder / name / REFERENCE_FILE for name in ("score/scores", "compare/compared"))
    assert before.read_text() == after.read_text()


def test_a_failure_is_passed_on_as_it_is(bucket: Bucket) -> None:
    def train(*, target_name: str, store: str, target: Path) -> None:
        raise TargetError("not a target")

    def use(*, target_name: str, target: Path, scores: Path) -> None:
        raise AssertionError

    told = bucket.run(train, {}, ["target"], store=bucket.store, target_name="a")
    assert told["artifacts"]["target"]["artifacts"][0]["metadata"] == {"failed": True}
    bucket.run(use, {"target": "s3://kfp/train/target"}, ["scores"], target_name="a")
    assert bucket.names("use/scores") == ["failure.json"]


def test_what_is_gone_from_the_store_or_changed_is_one_targets_failure(bucket: Bucket, tmp_path: Path) -> None:
    def use(*, target_name: str, scores: Path, table: Path) -> None:
        raise AssertionError

    def reason() -> str:
        bucket.run(use, {"scores": "s3://kfp/score/scores"}, ["table"], target_name="a")
        return str(json.loads((bucket.folder / "use" / "table" / "failure.json").read_text())["reason"])

    bucket.run(score, {}, ["scores"], store=bucket.store)
    (table,) = (tmp_path / "store" / "scores").rglob("table")
    table.unlink()
    table.write_text("another")
    assert "is not what the step before made" in reason()
    table.parents[1].rename(tmp_path / "gone")
    assert (
        "is gone, though Kubeflow's cache still has the step that made it; raise the parameter 'try_again'" in reason()
    )


def test_patients_data_without_a_store_are_refused_where_they_begin(
    bucket: Bucket, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pull(*, store: SharedStore = "", cohort: Path) -> None:
        cohort.mkdir()
        (cohort / "volumes").write_text(SECRET)

    for store in ("", "/a/path"):
        with pytest.raises(SystemExit) as ended:
            bucket.run(pull, {}, ["cohort"], store=store)
        assert ended.value.code == 2
        assert "give an s3:// or gs:// URI as parameter 'store', or as FLPRIVACY_STORE" in capsys.readouterr().err
    monkeypatch.setenv("FLPRIVACY_STORE", bucket.store)
    bucket.run(pull, {}, ["cohort"])
    assert bucket.names("pull/cohort") == [REFERENCE_FILE]


def test_an_empty_folder_arrives_though_an_object_store_has_none(bucket: Bucket) -> None:
    def empty(*, store: str, scores: Path) -> None:
        scores.mkdir()

    def look(*, scores: Path) -> int:
        return len(list(scores.iterdir()))

    bucket.run(empty, {}, ["scores"], store=bucket.store)
    assert bucket.names("empty/scores") == [REFERENCE_FILE]
    assert bucket.run(look, {"scores": "s3://kfp/empty/scores"}, [])["parameterValues"] == {"Output": 0}


def test_made_up_data_need_no_store(bucket: Bucket) -> None:
    bucket.run(score, {}, ["scores"], store="")
    assert bucket.names("score/scores") == ["audit.json", "inner", "inner/table", "target.json"]


def test_a_file_that_is_not_declared_open_is_a_defect(bucket: Bucket) -> None:
    def leak(*, store: str, table: Path) -> None:
        table.write_text(SECRET)

    with pytest.raises(ValueError, match="declare it Open"):
        bucket.run(leak, {}, ["table"], store=bucket.store)
    assert bucket.holds(SECRET) == []


@pytest.mark.parametrize("part", [{"kind": "../x"}, {"key": "../../etc"}, {"more": 1}])
def test_a_reference_leads_nowhere_else(
    bucket: Bucket, part: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.run(score, {}, ["scores"], store=bucket.store)
    file = bucket.folder / "score" / "scores" / REFERENCE_FILE
    found = json.loads(file.read_text())
    found["parts"][0] |= part
    file.write_text(json.dumps(found))
    with pytest.raises(SystemExit):
        bucket.run(attack, {"scores": "s3://kfp/score/scores", "many": []}, ["membership"])
    assert "not a reference" in capsys.readouterr().err


def diverge(*, store: str, generator: Path) -> None:
    def diverged() -> None:
        raise TrainingError("it diverged")

    run_for_generator("train_generator", diverged, inputs=(), output=generator)


def look(*, generator: Path) -> str:
    found = read_generator_failure(generator)
    return found.reason if found is not None else "nothing"


def test_why_a_generator_failed_reaches_the_next_step(bucket: Bucket) -> None:
    bucket.run(diverge, {}, ["generator"], store=bucket.store)
    assert bucket.names("diverge/generator") == [GENERATOR_FAILURE_FILE]
    told = bucket.run(look, {"generator": "s3://kfp/diverge/generator"}, [])
    assert told["parameterValues"]["Output"] == "it diverged"
