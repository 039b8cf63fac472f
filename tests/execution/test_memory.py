"""A step on one target whose memory runs out ends well, and leaves why; the kernel would have ended the whole run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flprivacy.execution.isolation import FAILURE_FILE, GENERATOR_FAILURE_FILE, TARGET_PARAMETER, read_failure
from flprivacy.execution.memory import memory_use
from flprivacy.execution.parts import PART_PARAMETER, folders_of
from flprivacy.execution.passing import REFERENCE_FILE
from tests.execution.test_container import task, written

GIB = 1 << 30
# Each step fills its container (which is a folder here), and lives on for a while.
STEPS = """
import functools, sys, time
from pathlib import Path
from flprivacy.execution import container
from flprivacy.execution.isolation import run_for_generator
from flprivacy.execution.memory import watching_memory
from flprivacy.execution.passing import finished

folder = Path(sys.argv[1])

def fill(seconds):
    (folder / "memory.current").write_text(str(990 << 20))
    time.sleep(seconds)

def train(*, target_name: str, store: str, target: Path) -> None:
    target.mkdir()
    (target / "half").touch()
    fill(60)

def generate(*, store: str, generator: Path) -> None:
    run_for_generator("generate", lambda: fill(60), inputs=(), output=generator)

def synthesize(*, store: str, generator: Path, audit: Path) -> None:
    generator.mkdir()
    (generator / "weights").touch()
    finished(generator)
    run_for_generator("check", lambda: fill(60), inputs=(), output=audit)

def evaluate(*, store: str) -> str:
    fill(0.5)
    return "done"

container._MOUNTS = {"s3://": f"{folder}/s3/"}
container.watching_memory = functools.partial(watching_memory, root=folder)
container.run_in_container(globals()[sys.argv[2]], sys.argv[3])
"""


def _container(folder: Path, used: int, limit: str = str(GIB)) -> None:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\nactive_file {200 << 20}\ninactive_file 0\n")


def _run(folder: Path, step: str, *outputs: str, of: str = TARGET_PARAMETER) -> subprocess.CompletedProcess[str]:
    _container(folder, 400 << 20)
    (folder / "memory.stat").write_text("anon 5\n")
    parameters = {of: "central"} if step == "train" else {}
    given = task(folder, parameters | {"store": f"file://{folder}/store"}, {}, dict.fromkeys(outputs, "system.Model"))
    given["outputs"]["artifacts"]["executor-logs"] = {
        "artifacts": [{"name": "executor-logs", "uri": "s3://kfp/executor-logs", "type": {}, "metadata": {}}]
    }
    if of == PART_PARAMETER:  # its own outputs say where a target's task runs
        for name in outputs:
            given["outputs"]["artifacts"][name]["artifacts"][0]["uri"] = f"s3://kfp/{name}"
    command = [sys.executable, "-c", STEPS, str(folder), step, json.dumps(given)]
    environment = os.environ | {"FLPRIVACY_HOME": str(folder / "home")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)


@pytest.mark.parametrize(
    ("step", "output", "file", "whose"),
    [("train", "target", FAILURE_FILE, "central"), ("generate", "generator", GENERATOR_FAILURE_FILE, "generator")],
)
def test_what_a_run_can_do_without_is_given_up(tmp_path: Path, step: str, output: str, file: str, whose: str) -> None:
    done = _run(tmp_path, step, output)
    assert done.returncode == 0, done.stderr
    failure = json.loads((tmp_path / output / file).read_text())
    assert (failure["target"], failure["step"]) == (whose, step)
    assert failure["reason"] == (
        "out of memory: it used 1.0 of 1.0 GiB of its container; give such steps more ('train_memory')"
    )
    assert [path.name for path in (tmp_path / output).iterdir()] == [file]
    assert output in written(tmp_path)["artifacts"]
    assert failure["reason"] in done.stderr


def test_a_target_that_is_alone_in_its_pod_is_told_as_every_other(tmp_path: Path) -> None:
    """Most are, and it works in the pod's own process: whoever reads the part finds a folder with a failure."""
    done = _run(tmp_path, "train", "target", of=PART_PARAMETER)
    assert done.returncode == 0, done.stderr
    (folder,) = folders_of(tmp_path / "s3" / "kfp" / "target")
    assert folder.name == "central"
    failure = read_failure(folder)
    assert failure is not None
    assert failure.reason.startswith("out of memory: ")
    assert written(tmp_path)["artifacts"]["target"]["artifacts"][0]["metadata"] == {"targets": 1, "failed": 1}


def test_what_the_step_had_finished_before_is_kept(tmp_path: Path) -> None:
    done = _run(tmp_path, "synthesize", "generator", "audit")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "generator").iterdir()] == [REFERENCE_FILE]
    assert [path.name for path in (tmp_path / "audit").iterdir()] == [GENERATOR_FAILURE_FILE]
    told = {name: found["artifacts"][0]["metadata"] for name, found in written(tmp_path)["artifacts"].items()}
    assert (told["generator"]["files"], told["audit"]) == (1, {})


def test_a_step_that_all_others_need_goes_on(tmp_path: Path) -> None:
    done = _run(tmp_path, "evaluate")
    assert (done.returncode, written(tmp_path)["parameterValues"]) == (0, {"Output": "done"}), done.stderr


def test_what_the_kernel_can_take_back_counts_as_free(tmp_path: Path) -> None:
    assert memory_use(tmp_path) is None
    _container(tmp_path, GIB)
    use = memory_use(tmp_path)
    assert use is not None
    assert (str(use), use.is_full) == ("0.8 of 1.0 GiB", False)
    _container(tmp_path, GIB, limit="max")
    assert memory_use(tmp_path) is None
    for name in ("memory.max", "memory.current", "memory.stat"):
        (tmp_path / name).unlink()
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(str(GIB))
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text(str(GIB))
    (tmp_path / "memory" / "memory.stat").write_text("total_inactive_file 0\n")
    older = memory_use(tmp_path)
    assert older is not None
    assert older.is_full
