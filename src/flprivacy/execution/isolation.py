"""Steps on one target, whose failure must not take the other targets' results with it.

Such a step ends well all the same and leaves ``failure.json`` in place of its output; what comes after it passes that
on, the audit says which target failed and why, and the pipeline's last step then fails the run. So do steps on a
study's generator: the targets that need its scans fail with it, the others do not. Steps themselves try again what
may pass, such as a store that is away; what lasts longer is recorded like a refusal, as Argo does not try a step again
that ends with an error. Memory that runs out is recorded before the kernel ends the container
(:mod:`~flprivacy.execution.memory`).
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from flprivacy.execution.apart import LostProcessError, how_it_ended
from flprivacy.execution.memory import MemoryUse
from flprivacy.execution.run_step import set_process_up

R = TypeVar("R")

LOGGER = logging.getLogger(__name__)
RETRIES = 2  # what the pipelines ask of the cluster, for pods that are lost
FAILURE_FILE, GENERATOR_FAILURE_FILE = "failure.json", "generator-failure.json"
TARGET_PARAMETER = "target_name"  # a step with a parameter of this name works on one target
_MAY_PASS = (StorageError, TrackingError)


@dataclass(kw_only=True)
class _Stake:
    """What a step leaves if it must end at once."""

    failure: TargetFailure  # but for its reason
    file: str


_at_stake: list[_Stake] = []  # of the step under way


@contextmanager
def _staking(step: str, whose: str, file: str) -> Iterator[_Stake]:
    role = GENERATOR if file == GENERATOR_FAILURE_FILE else "target"
    failure = TargetFailure(target=whose, step=step, reason="", transient=False, role=role)
    _at_stake.append(_Stake(failure=failure, file=file))
    try:
        yield _at_stake[-1]
    finally:
        _at_stake.pop()


def in_phases(step: Callable[..., R]) -> Callable[..., R]:
    """Mark a step on targets that consists of phases and tells of each itself."""
    _in_phases.add(step.__name__)
    return step


_in_phases: set[str] = set()


def now_as(name: str) -> None:
    """Let what fails from now on in the step under way have failed as a step of that name."""
    if _at_stake:
        _at_stake[-1].failure = replace(_at_stake[-1].failure, step=name)


@contextmanager
def phase(name: str, whose: str) -> Iterator[None]:
    """Tell whoever watches of a phase of a step on a target; what fails in it has failed as a step of that name."""
    now_as(name)
    emit("step", step=name, detail=whose)
    yield
    emit("done", step=name, detail=whose)


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
    """Call a step's function on one target inside its container; None if it failed.

    Args:
        arguments: the step's own keyword arguments, among them ``target_name``.
        outputs: folders that the step writes; after a failure each holds ``failure.json`` alone.
    """
    name, whose = _told_as(function.__name__, str(arguments[TARGET_PARAMETER]))
    set_process_up()
    if name not in _in_phases:
        emit("step", step=name, detail=whose)
    with _staking(name, whose, FAILURE_FILE) as stake:
        try:
            with naming_extras():
                result = function(**arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this target's alone: recorded
            failure = _judge(error, stake.failure)
        else:
            if name not in _in_phases:
                emit("done", step=name, detail=whose)
            return result
    for out in outputs:
        _leave(failure, out, FAILURE_FILE, step=failure.step, detail=whose)
    return None


def _told_as(step: str, whose: str) -> tuple[str, str]:
    """Return the step and target as which a step's failure is told: that of a reference model is its target's."""
    reference = ReferenceJob.named(whose)
    return (step, whose) if reference is None else (REFERENCE_STEP, reference.target)


def leave_lost(step: str, whose: str, code: int, outputs: Sequence[Path]) -> None:
    """Leave a failure in place of the outputs of a step on a target whose process ended without leaving one.

    Args:
        code: how it ended: its exit code, or the number of the signal that killed it, negative.
    """
    step, whose = _told_as(step, whose)
    reason = how_it_ended(code)
    LOGGER.error("%s of %s: %s", step, whose, reason)
    failure = TargetFailure(target=whose, step=step, reason=reason, transient=True)
    for out in outputs:
        _leave(failure, out, FAILURE_FILE, step=step, detail=whose)


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
        with _staking(step, GENERATOR, GENERATOR_FAILURE_FILE) as stake:
            try:
                with naming_extras():
                    return work()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the generator's alone: recorded
                failure = _judge(error, stake.failure)
    _leave(failure, output, GENERATOR_FAILURE_FILE, step=step, detail="")
    return None


def _leave(failure: TargetFailure, output: Path, name: str, *, step: str, detail: str) -> None:
    """Leave a failure in place of an output."""
    with publish_folder(output) as partial:
        write_json(partial / name, to_mapping(failure))
    emit("failed", step=step, detail=detail, message=f"{failure.target}: {failure.reason}")


def _judge(error: Exception, stake: TargetFailure) -> TargetFailure:
    """Return what to record of an error."""
    if isinstance(error, FlprivacyError | LostProcessError):
        reason = str(error)
        LOGGER.error("%s of %s failed: %s", stake.step, stake.target, reason)
    else:
        reason = f"the step broke ({type(error).__name__}); its log says where"  # a foreign message may name anything
        LOGGER.error("%s of %s broke", stake.step, stake.target, exc_info=error)
    transient = not isinstance(error, FlprivacyError) or isinstance(error, _MAY_PASS)
    return replace(stake, reason=reason, transient=transient)


def read_failure(folder: Path) -> TargetFailure | None:
    """Return what went wrong if a target's step left a failure in place of its output."""
    return _read(folder / FAILURE_FILE)


def read_generator_failure(folder: Path) -> TargetFailure | None:
    """Return what went wrong if a step on a study's generator left a failure in place of its output."""
    return _read(folder / GENERATOR_FAILURE_FILE)


def _read(file: Path) -> TargetFailure | None:
    return from_mapping(TargetFailure, json.loads(file.read_text()), str(file)) if file.is_file() else None


def try_again(failures: Iterable[TargetFailure]) -> str:
    """Return, for the end of a message, how to try again what may have passed: the same run finds it in the cache."""
    return " (to try again, raise the parameter 'try_again')" if any(one.transient for one in failures) else ""


def need_success(folder: Path) -> None:
    """Go on only if the step before did not fail.

    Raises:
        TrainingError: it did; the message is its reason.
    """
    failure = read_failure(folder)
    if failure is not None:
        raise TrainingError(f"{failure.target}: {failure.step} failed: {failure.reason}{try_again([failure])}")
