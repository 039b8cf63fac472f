"""A step in its container: from the executor input of Kubeflow Pipelines to the step's function, and back.

Kubeflow describes a task in one JSON document and reads its results from another. kfp itself is not imported: that
would cost every step seconds.
"""

import functools
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_type_hints

from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import convert
from flprivacy.core.publish import write_json
from flprivacy.execution.ends import Failure, leave_failure
from flprivacy.execution.isolation import TARGET_PARAMETER, leave_out_of_memory, read_failure, run_target_step
from flprivacy.execution.memory import MemoryUse, watching_memory
from flprivacy.execution.parts import end_part, folders_of, part_names, run_part
from flprivacy.execution.passing import Passing, closed_names, kept_in, on_backend_without_store
from flprivacy.execution.run_step import last_words, refuse, run_step
from flprivacy.storage.places import is_shared

ONLY_OUTPUT = "Output"  # what Kubeflow calls the only output parameter of a step
_MOUNTS = {"gs://": "/gcs/", "minio://": "/minio/", "s3://": "/s3/"}  # where the backend puts artifacts


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step returns besides the files that it wrote."""

    parameters: Mapping[str, Any] = field(default_factory=dict)  # output parameters by name
    # facts about output artifacts, by the artifact's name. Those of a Metrics artifact are its metrics
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def run_in_container(step: Callable[..., Any], executor_input: str) -> None:
    """Call a step with the arguments of its task, which is Kubeflow's JSON description, and write the task's results.

    The step gets its parameters in the types of its signature, and a ``Path`` for every artifact that its signature
    names. Whatever it returns that is no :class:`StepResult` is its only output parameter. Results are written only
    if the step returns: a step that refuses or breaks leaves none. On a cluster, what is a patient's is passed on by
    reference (:mod:`~flprivacy.execution.passing`).
    """
    task = json.loads(executor_input)
    if not _on_backend(task):
        _run(step, task)
        return
    with _leaving_failure(step.__name__, task):
        _run(step, task)


@contextmanager
def _leaving_failure(step: str, task: Mapping[str, Any]) -> Iterator[None]:
    """Leave the line with which a step ends, for the run's last step, which tells people."""
    try:
        yield
    except (Exception, SystemExit):
        given = task.get("inputs", {}).get("parameterValues", {})
        failure = Failure(step=step, target=str(given.get(TARGET_PARAMETER, "")), reason=last_words() or "broke")
        store = str(given.get("store", "")).strip() or _store_of_inputs(task)
        if is_shared(store):
            leave_failure(failure, run=_run_id(task), store=store)
        raise


def _store_of_inputs(task: Mapping[str, Any]) -> str:
    """Return where what a task was given is kept; empty if nothing says so."""
    given = [_path(artifact) for _, artifacts in _artifacts(task, "inputs") for artifact in artifacts]
    return next((place for place in map(kept_in, given) if place), "")


def _run_id(task: Mapping[str, Any]) -> str:
    """Return the id of a backend task's run: its files lie in ``<root>/<pipeline>/<run>/<task>/<execution>``."""
    return Path(task["outputs"]["outputFile"]).parents[2].name


def _run(step: Callable[..., Any], task: Mapping[str, Any]) -> None:
    names = part_names(task)
    if not names:
        _run_one(step, task)
        return
    hints = get_type_hints(step)
    outputs = {name: _path(artifacts[0]) for name, artifacts in _artifacts(task, "outputs")}
    written = {name: path for name, path in outputs.items() if name in hints}

    def end() -> None:
        _write_result(task, outputs, StepResult(metadata=end_part(names, written)))

    run_part(step.__name__, task, names, written, functools.partial(_run_one, step, end=end))
    end()


def _run_one(step: Callable[..., Any], task: Mapping[str, Any], *, end: Callable[[], None] = lambda: None) -> None:
    """Do a step on one target, or on none; ``end`` is what is left to do if the process has to end within it."""
    hints = get_type_hints(step)
    outputs = {name: _path(artifacts[0]) for name, artifacts in _artifacts(task, "outputs")}
    for path in outputs.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    written = {name: path for name, path in outputs.items() if name in hints}
    try:
        arguments = _inputs(task, hints) | written
    except ConfigError as error:
        refuse(step.__name__, "", error)
    passing = Passing(outputs=written, store=str(arguments.get("store", "")))
    guarded: AbstractContextManager[None] = nullcontext()
    if _on_backend(task):
        if (refusal := on_backend_without_store(step, passing.store)) is not None:
            refuse(step.__name__, "", refusal)
        closed = closed_names(step)  # of the step itself, not of what goes around it
        guarded = watching_memory(lambda use: _end_without_memory(use, task, outputs, passing, closed, end))
        step = passing.around(step)
    with guarded:
        if TARGET_PARAMETER in hints:
            result = run_target_step(step, arguments, list(written.values()))
            # Of hundreds of targets one step reads all outputs, with whatever is told of them: no more than must be.
            result = _failed(written) or _told(result, {})
        else:
            result = _told(run_step(step, arguments), passing.facts)
    _write_result(task, outputs, result)


def _end_without_memory(
    use: MemoryUse,
    task: Mapping[str, Any],
    outputs: Mapping[str, Path],
    passing: Passing,
    closed: Collection[str],
    end: Callable[[], None],
) -> None:
    """End the process well, with a failure in place of what it has not finished, if the run can do without that."""
    lost = [path for name, path in passing.outputs.items() if name in closed and name not in passing.finished]
    if leave_out_of_memory(use, lost):
        _write_result(task, outputs, _failed(outputs) or _told(None, passing.facts))
        end()
        sys.stderr.flush()
        os._exit(0)  # at once: what is under way would take more


def _failed(outputs: Mapping[str, Path]) -> StepResult | None:
    """Return what is told of outputs in whose place a failure lies; None if there are none."""
    failed = {name: {"failed": True} for name, path in outputs.items() if read_failure(path) is not None}
    return StepResult(metadata=failed) if failed else None


def confusion_metadata(class_names: Sequence[str], counts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return a confusion matrix, counts [truth][prediction], as metadata of a ClassificationMetrics artifact."""
    categories = [{"displayName": name} for name in class_names]
    return {"confusionMatrix": {"annotationSpecs": categories, "rows": [{"row": list(row)} for row in counts]}}


def _told(returned: Any, facts: Mapping[str, Mapping[str, Any]]) -> StepResult:
    """Return what a step returned, with what is known of the artifacts that were passed on by reference."""
    only = {} if returned is None else {ONLY_OUTPUT: returned}
    result = returned if isinstance(returned, StepResult) else StepResult(parameters=only)
    names = dict.fromkeys([*result.metadata, *facts])
    return replace(result, metadata={one: {**facts.get(one, {}), **result.metadata.get(one, {})} for one in names})


def _on_backend(task: Mapping[str, Any]) -> bool:
    """Tell whether a task's artifacts are copied into the artifact store of a backend."""
    artifacts = [one for side in ("inputs", "outputs") for _, found in _artifacts(task, side) for one in found]
    return any(str(one["uri"]).startswith(tuple(_MOUNTS)) for one in artifacts)


def _inputs(task: Mapping[str, Any], hints: Mapping[str, Any]) -> dict[str, Any]:
    """Return the step's inputs; JSON knows one kind of number, the signature says which it is.

    Kubeflow adds parameters of its own, such as the cores that a task asks for: they are not the step's.

    Raises:
        ConfigError: a parameter has the wrong type.
    """
    given = task.get("inputs", {}).get("parameterValues", {})
    known = {name: value for name, value in given.items() if name in hints and value is not None}
    parameters = {name: convert(hints[name], _trimmed(value), name) for name, value in known.items()}
    paths = {
        name: tuple(folder for one in artifacts for folder in folders_of(_path(one)))
        for name, artifacts in _artifacts(task, "inputs")
    }
    alone = (Path, Path | None)
    return parameters | {name: found[0] if hints[name] in alone else found for name, found in paths.items()}


def _trimmed(value: Any) -> Any:
    """Return a parameter without blanks at the ends of its texts; the form in Kubeflow's web pages keeps them."""
    if isinstance(value, dict):
        return {key: _trimmed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_trimmed(item) for item in value]
    return value.strip() if isinstance(value, str) else value


def _artifacts(task: Mapping[str, Any], side: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for name, found in task.get(side, {}).get("artifacts", {}).items():
        if found.get("artifacts"):
            yield name, found["artifacts"]


def _path(artifact: Mapping[str, Any]) -> Path:
    uri = str(artifact["uri"])
    mounted = (mount + uri.removeprefix(scheme) for scheme, mount in _MOUNTS.items() if uri.startswith(scheme))
    return Path(next(mounted, uri))


def _write_result(task: Mapping[str, Any], outputs: Mapping[str, Path], result: StepResult) -> None:
    for path in outputs.values():
        if not path.exists():  # metrics are metadata only, but Kubeflow wants a file of every artifact
            path.touch()
    artifacts = {
        name: {
            "artifacts": [
                {
                    "name": artifact.get("name", ""),
                    "uri": artifact["uri"],
                    "metadata": {**artifact.get("metadata", {}), **result.metadata.get(name, {})},
                }
            ]
        }
        for name, (artifact, *_) in _artifacts(task, "outputs")
    }
    parameters = {"parameterValues": dict(result.parameters)} if result.parameters else {}
    write_json(Path(task["outputs"]["outputFile"]), parameters | ({"artifacts": artifacts} if artifacts else {}))
