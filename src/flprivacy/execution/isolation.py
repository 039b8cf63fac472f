"""Steps on one target, whose failure must not take the other targets' results with it.

Such a step ends well all the same and leaves ``failure.json`` in place of its output; what comes after it passes that
on, the audit says which target failed and why, and the pipeline's last step then fails the run. So do steps on a
study's generator: the targets that need its scans fail with it, the others do not. A refusal would be
the same at every try and is recorded at once. What may pass (a store that is away, a lost device) is left to the
cluster's retries first, and recorded by the last of them. Memory that runs out is recorded before the kernel ends the
container (:mod:`~flprivacy.execution.memory`).
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from flprivacy.core.audit import GENERATOR, TargetFailure
from flprivacy.core.errors import FlprivacyError, StorageError, TrackingError, TrainingError
from flprivacy.core.events import emit
from flprivacy.core.extras import naming_extras
from flprivacy.core.parsing import from_mapping, to_mapping
from flprivacy.core.publish import publish_folder, write_json
from flprivacy.core.reference_scores import REFERENCE_STEP, ReferenceJob
from flprivacy.execution.memory import MemoryUse
from flprivacy.execution.run_step import begin_step, leave_last_words, refuse

R = TypeVar("R")

LOGGER = logging.getLogger(__name__)
RETRIES = 2  # what the pipelines ask of the cluster
RETRY_VARIABLE = "KFP_RETRY_INDEX"  # the backend's count of tries, from 0, where a step has retries
FAILURE_FILE, GENERATOR_FAILURE_FILE = "failure.json", "generator-failure.json"
TARGET_PARAMETER = "target_name"  # a step with a parameter of this name works on one target
_MAY_PASS = (StorageError, TrackingError)


@dataclass(frozen=True, kw_only=True)
class _Stake:
    """What a step leaves if it must end at once."""

    failure: TargetFailure  # but for its reason
    file: str


_at_stake: list[_Stake] = []  # of the step under way


@contextmanager
def _staking(step: str, whose: str, file: str) -> Iterator[None]:
    role = GENERATOR if file == GENERATOR_FAILURE_FILE else "target"
    failure = TargetFailure(target=whose, step=step, reason="", transient=False, role=role)
    _at_stake.append(_Stake(failure=failure, file=file))
    try:
        yield
    finally:
        _at_stake.pop()


def leave_out_of_memory(use: MemoryUse, outputs: Sequence[Path]) -> bool:
    """Leave a failure in place of the outputs of the step under way, whose memory runs out.

    Returns:
        Whether a failure was left: the run can do without what the step makes.
    """
    if not _at_stake:
        return False
    stake = _at_stake[-1]
    reason = f"out of memory: it used {use} of its container; give such steps more ('train_memory')"
    failure = replace(stake.failure, reason=reason)
    LOGGER.error("%s of %s: %s", failure.step, failure.target, reason)
    for out in outputs:
        _leave(failure, out, stake.file, step=failure.step, detail=failure.target)
    return True


def run_target_step(function: Callable[..., R], arguments: Mapping[str, Any], outputs: Sequence[Path]) -> R | None:
    """Call a step's function on one target inside its container; None if it, or a step before it, failed.

    Args:
        arguments: the step's own keyword arguments, among them ``target_name``. A folder among them that holds a
            failure is the output of the step before.
        outputs: folders that the step writes; after a failure each holds ``failure.json`` alone.
    """
    name, whose = function.__name__, str(arguments[TARGET_PARAMETER])
    if (reference := ReferenceJob.named(whose)) is not None:
        name, whose = REFERENCE_STEP, reference.target
    begin_step(name, whose)
    inputs = [value for value in arguments.values() if isinstance(value, Path) and value not in outputs]
    failure = next((found for folder in inputs if (found := read_failure(folder)) is not None), None)
    if failure is None:
        try:
            with naming_extras(), _staking(name, whose, FAILURE_FILE):
                result = function(**arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this target's alone: recorded or raised
            failure = _judge(error, name, whose)
        else:
            emit("done", step=name, detail=whose)
            return result
    for out in outputs:
        _leave(failure, out, FAILURE_FILE, step=name, detail=whose)
    return None


def run_for_generator(step: str, work: Callable[[], R], *, inputs: Sequence[Path], output: Path) -> R | None:
    """Do a step's work on the generator of a study, whose other targets can do without it; None if it failed.

    Args:
        step: its name.
        work: what to do.
        inputs: folders; one that holds a failure of the generator is the output of the step before.
        output: folder that the work writes; after a failure it holds ``generator-failure.json`` alone.
    """
    failure = next((found for folder in inputs if (found := read_generator_failure(folder)) is not None), None)
    if failure is None:
        try:
            with naming_extras(), _staking(step, GENERATOR, GENERATOR_FAILURE_FILE):
                return work()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the generator's alone: recorded or raised
            failure = replace(_judge(error, step, GENERATOR), role=GENERATOR)
    _leave(failure, output, GENERATOR_FAILURE_FILE, step=step, detail="")
    return None


def _leave(failure: TargetFailure, output: Path, name: str, *, step: str, detail: str) -> None:
    """Leave a failure in place of an output."""
    with publish_folder(output) as partial:
        write_json(partial / name, to_mapping(failure))
    emit("failed", step=step, detail=detail, message=f"{failure.target}: {failure.reason}")


def _judge(error: Exception, step: str, whose: str) -> TargetFailure:
    """Return what to record of an error, or end the process so that the cluster tries again."""
    transient = not isinstance(error, FlprivacyError) or isinstance(error, _MAY_PASS)
    if transient and may_try_again():
        if isinstance(error, FlprivacyError):
            refuse(step, whose, error)
        leave_last_words(f"{step} of {whose} broke: {type(error).__name__}; its log says where")
        raise error
    if isinstance(error, FlprivacyError):
        reason = str(error)
        LOGGER.error("%s of %s failed: %s", step, whose, reason)
    else:
        reason = f"the step broke ({type(error).__name__}); its log says where"  # a foreign message may name anything
        LOGGER.error("%s of %s broke", step, whose, exc_info=error)
    return TargetFailure(target=whose, step=step, reason=reason, transient=transient)


def may_try_again() -> bool:
    """Tell whether the cluster will try this step again if it fails now."""
    return int(os.environ.get(RETRY_VARIABLE) or RETRIES) < RETRIES


def read_failure(folder: Path) -> TargetFailure | None:
    """Return what went wrong if a target's step left a failure in place of its output."""
    return _read(folder / FAILURE_FILE)


def read_generator_failure(folder: Path) -> TargetFailure | None:
    """Return what went wrong if a step on a study's generator left a failure in place of its output."""
    return _read(folder / GENERATOR_FAILURE_FILE)


def _read(file: Path) -> TargetFailure | None:
    return from_mapping(TargetFailure, json.loads(file.read_text()), str(file)) if file.is_file() else None


def need_success(folder: Path) -> None:
    """Go on only if the step before did not fail.

    Raises:
        TrainingError: it did; the message is its reason.
    """
    failure = read_failure(folder)
    if failure is not None:
        raise TrainingError(f"{failure.target}: {failure.step} failed: {failure.reason}")
