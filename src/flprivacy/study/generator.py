"""The steps on a plan's generator: which failure ends the run, and which is recorded."""

from collections.abc import Callable, Sequence
from pathlib import Path

from flprivacy.execution.container import StepResult
from flprivacy.execution.isolation import run_for_generator
from flprivacy.study.plan import GENERATOR_PIPELINE, Plan


def for_generator(
    run: Plan, step: str, work: Callable[[], StepResult], *, inputs: Sequence[Path], output: Path
) -> StepResult:
    """Do a step's work on a plan's generator.

    In a study, what fails is recorded in place of the output: targets that do without the generator go on. Where the
    generator is all that there is, it ends the run.

    Args:
        run: the plan.
        step: name of the step.
        work: what to do.
        inputs: folders that steps on the generator made.
        output: folder that the work writes.
    """
    if run.pipeline == GENERATOR_PIPELINE:
        return work()
    return run_for_generator(step, work, inputs=inputs, output=output) or StepResult()
