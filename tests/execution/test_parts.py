"""A step on several targets: each in a process of its own, and none takes the others' results with it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from flprivacy.core.errors import TargetError
from flprivacy.core.publish import publish_folder
from flprivacy.execution import parts
from flprivacy.execution.container import run_in_container
from flprivacy.execution.isolation import read_failure
from flprivacy.execution.parts import PARTS_FILE, folders_of, of_one

# Stands in for ``python -m flprivacy.steps``: what becomes of a target is said by its name.
_STEP = """
import json, os, pathlib, signal, sys, tempfile, time
task = json.loads(sys.argv[-1])
name = task["inputs"]["parameterValues"]["target_name"]
out = pathlib.Path(task["outputs"]["artifacts"]["scores"]["artifacts"][0]["uri"])
out.mkdir(parents=True)
seen = out.parent.parent / f"tries of {name}"
seen.write_text(seen.read_text() + "x" if seen.exists() else "x")
pathlib.Path(tempfile.mkdtemp()).joinpath("x").touch()
if name == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if name == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if name in ("slow", "stubborn"):
    (out / "began").touch()
    time.sleep(60)
failure = {"target": name, "step": "attack", "reason": "away", "transient": name != "refused"}
if name == "refused" or (name == "away at first" and seen.read_text() == "x"):
    (out / "failure.json").write_text(json.dumps(failure))
else:
    (out / "scores").write_text(name)
pathlib.Path(task["outputs"]["outputFile"]).write_text("{}")
"""


def attack(*, target_name: str, scores: Path) -> None:
    """Attack a target in this process."""
    if target_name == "refused":
        raise TargetError("not a target")
    with publish_folder(scores) as partial:
        (partial / "scores").write_text(f"{target_name} here")


def task_of(folder: Path, names: str) -> dict[str, Any]:
    artifacts = {
        name: {"artifacts": [{"name": name, "uri": str(folder / name), "metadata": {}}]}
        for name in ("scores", "executor-logs")
    }
    return {
        "inputs": {"parameterValues": {"target_names": names, "store": "x"}},
        "outputs": {"artifacts": artifacts, "outputFile": str(folder / "executor_output.json")},
    }


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    (tmp_path / "step.py").write_text(_STEP)
    monkeypatch.setattr(parts, "_COMMAND", (sys.executable, str(tmp_path / "step.py")))
    return tmp_path / "run"


def test_one_that_is_killed_or_refused_leaves_the_others_results(apart: Path) -> None:
    run_in_container(attack, json.dumps(task_of(apart, "a, killed, refused, away at first, b")))
    found = {folder.name: folder for folder in folders_of(apart / "scores")}
    assert list(found) == ["a", "killed", "refused", "away at first", "b"]
    for name in ("a", "b", "away at first"):
        assert (found[name] / "scores").read_text() == name
    killed, refused = read_failure(found["killed"]), read_failure(found["refused"])
    assert killed is not None
    assert refused is not None
    assert ("signal 9" in killed.reason, killed.step, refused.reason) == (True, "attack", "away")
    tries = {path.name.removeprefix("tries of "): len(path.read_text()) for path in apart.glob("tries of *")}
    assert tries == {"a": 1, "b": 1, "refused": 1, "killed": 2, "away at first": 2}
    told = json.loads((apart / "executor_output.json").read_text())["artifacts"]["scores"]["artifacts"][0]["metadata"]
    assert told == {"targets": 5, "failed": 2}


def test_one_that_is_killed_leaves_nothing_on_the_disk_of_the_pod(
    apart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)  # where it was found is remembered
    run_in_container(attack, json.dumps(task_of(apart, "killed, a")))
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_lone_target_needs_no_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "executor-logs").write_text("of the backend, a file")
    run_in_container(attack, json.dumps(task_of(tmp_path, "a")))
    assert (tmp_path / "scores" / "a" / "scores").read_text() == "a here"
    assert list(folders_of(tmp_path / "scores")) == [tmp_path / "scores" / "a"]
    run_in_container(attack, json.dumps(task_of(tmp_path / "other", "refused")))
    assert read_failure(tmp_path / "other" / "scores" / "refused") is not None


def test_the_step_that_reads_parts_gets_a_folder_for_every_target(apart: Path, tmp_path: Path) -> None:
    seen: list[Path] = []

    def reads(*, scores: tuple[Path, ...]) -> None:
        seen.extend(scores)

    run_in_container(attack, json.dumps(task_of(apart, "a, b")))
    (tmp_path / "alone").mkdir()
    given = [{"uri": str(folder)} for folder in (apart / "scores", tmp_path / "alone")]
    task = {"inputs": {"artifacts": {"scores": {"artifacts": given}}}, "outputs": {"outputFile": str(tmp_path / "out")}}
    run_in_container(reads, json.dumps(task))
    assert seen == [apart / "scores" / "a", apart / "scores" / "b", tmp_path / "alone"]


def test_the_task_of_one_target_names_it_alone_and_a_folder_of_its_own(tmp_path: Path) -> None:
    whole = task_of(tmp_path, "a, b")
    one = of_one(whole, "b", ["scores"])
    assert one["inputs"]["parameterValues"] == {"target_name": "b", "store": "x"}
    assert one["outputs"]["artifacts"]["scores"]["artifacts"][0]["uri"] == str(tmp_path / "scores" / "b")
    assert Path(one["outputs"]["outputFile"]).parent == tmp_path
    assert list(one["outputs"]["artifacts"]) == ["scores"]
    assert whole == task_of(tmp_path, "a, b")


@pytest.mark.parametrize("name", ["slow", "stubborn"])
def test_who_is_asked_to_stop_passes_it_on_and_ends(tmp_path: Path, name: str) -> None:
    (tmp_path / "step.py").write_text(_STEP)
    task = json.dumps(task_of(tmp_path, f"{name}, a"))
    code = (
        "import sys; from flprivacy.execution import container, parts; from tests.execution.test_parts import attack;"
        f"parts._COMMAND = (sys.executable, {str(tmp_path / 'step.py')!r}); parts.TO_STOP_SECONDS = 2.0;"
        "container.run_in_container(attack, sys.argv[1])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, task], cwd=Path(__file__).parents[2])
    began = tmp_path / "scores" / name / "began"
    deadline = time.monotonic() + 60
    while not began.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 143
    assert not (tmp_path / "scores" / "a").exists()
    assert not (tmp_path / "scores" / PARTS_FILE).exists()
