"""A step on several targets: each by itself, so that none takes the others' results with it.

The task names targets, ``target_names``, and the step works on one, ``target_name``. It is called for each in a process
of its own; its outputs become folders below the task's, one for each target. What failed for a reason that may pass is
done once more at the end.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flprivacy.core.parts import PARTS_FILE, names_of
from flprivacy.core.publish import write_json
from flprivacy.execution.apart import TO_STOP_SECONDS
from flprivacy.execution.isolation import TARGET_PARAMETER, leave_lost, read_failure
from flprivacy.execution.run_step import TERMINATED, set_process_up

LOGGER = logging.getLogger(__name__)
PART_PARAMETER = "target_names"  # of a step's task, in place of TARGET_PARAMETER
_COMMAND = (sys.executable, "-m", "flprivacy.steps")
RunOne = Callable[[Mapping[str, Any]], None]


def part_names(task: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the targets that a task names; none if it is on one target, or on none."""
    part = str(task.get("inputs", {}).get("parameterValues", {}).get(PART_PARAMETER, ""))
    return names_of(part) if part else ()


def run_part(
    step: str, task: Mapping[str, Any], names: Sequence[str], outputs: Mapping[str, Path], run_here: RunOne
) -> None:
    """Do a step on every target of a task.

    Args:
        step: its name.
        task: Kubeflow's description.
        names: of the targets.
        outputs: folder of each output that the step writes, by name.
        run_here: does the step on one target in this process, which a lone target needs no other for.
    """
    set_process_up()
    for number, name in enumerate(names, 1):
        LOGGER.info("target %d of %d: %s", number, len(names), name)
        if len(names) == 1:
            run_here(of_one(task, name, outputs))
        else:
            _run_apart(step, task, name, outputs)
    for name in names:
        failures = [read_failure(folder / name) for folder in outputs.values()]
        if any(failure is not None and failure.transient for failure in failures):
            LOGGER.info("%s once more: why it failed may have passed", name)
            for folder in outputs.values():
                shutil.rmtree(folder / name, ignore_errors=True)
            _run_apart(step, task, name, outputs)


def of_one(task: Mapping[str, Any], name: str, written: Collection[str]) -> dict[str, Any]:
    """Return the task of one target: what the step writes lies in a folder of its own below that of all.

    The backend adds outputs of its own, such as the log, which are the whole task's.
    """
    inputs, outputs = dict(task["inputs"]), dict(task["outputs"])
    given = dict(inputs["parameterValues"])
    del given[PART_PARAMETER]
    inputs["parameterValues"] = given | {TARGET_PARAMETER: name}
    found = {key: outputs["artifacts"][key]["artifacts"] for key in written}
    outputs["artifacts"] = {key: {"artifacts": [_below(one, name) for one in some]} for key, some in found.items()}
    outputs["outputFile"] = f"{outputs['outputFile']}-{name}"  # beside the task's, which alone is read
    return {**task, "inputs": inputs, "outputs": outputs}


def _below(artifact: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {**artifact, "uri": f"{artifact['uri']}/{name}"}


def _run_apart(step: str, task: Mapping[str, Any], name: str, outputs: Mapping[str, Path]) -> None:
    """Do a step on one target in a process of its own; one that dies leaves a failure, and no files, all the same."""
    one = of_one(task, name, outputs)
    words = [*_COMMAND, step, "--executor_input", json.dumps(one)]
    with (
        tempfile.TemporaryDirectory(prefix="flprivacy-") as scratch,
        subprocess.Popen(words, env=os.environ | {"TMPDIR": scratch}) as process,
    ):
        try:
            code = process.wait()
        except BaseException:  # this process is asked to stop: so is that one, which then keeps its checkpoints
            _stop(process)
            raise
    if code == TERMINATED:
        raise SystemExit(code)
    if code:
        leave_lost(step, name, code, [folder / name for folder in outputs.values()])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(TO_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def end_part(names: Sequence[str], outputs: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Complete the outputs of a part whose targets are done, and return facts about each, by name.

    They are how many targets there are, and how many of them failed. Names would stand in the step that reads all
    parts, and Kubernetes stores that several times.
    """
    for folder in outputs.values():
        write_json(folder / PARTS_FILE, list(names))
    failed = {key: sum(read_failure(folder / name) is not None for name in names) for key, folder in outputs.items()}
    return {key: {"targets": len(names)} | ({"failed": count} if count else {}) for key, count in failed.items()}


def folders_of(path: Path) -> Iterator[Path]:
    """Yield the folder of every target in an output, or the output itself if it is of one."""
    file = path / PARTS_FILE
    if not file.is_file():
        yield path
        return
    for name in json.loads(file.read_text()):
        yield path / name
