"""The steps on a plan's generator: which failure ends the run, and which is recorded."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flprivacy.core.errors import TrainingError
from flprivacy.execution.container import StepResult
from flprivacy.execution.isolation import run_for_generator
from flprivacy.study.plan import GENERATOR_PIPELINE, Plan
from flprivacy.synthesis.config import GeneratorConfig

# What TensorFlow says where the discriminator's weights, which every update decomposes, are no longer finite.
_NOT_DECOMPOSED = "eigen decomposition was not successful"


@contextmanager
def divergence_told(config: GeneratorConfig) -> Iterator[None]:
    """Tell of a generator's training that diverged in an update, before its losses could be looked at.

    Raises:
        TrainingError: it did.
    """
    try:
        yield
    except Exception as error:
        if _NOT_DECOMPOSED not in str(error):
            raise
        raise TrainingError(
            "training diverged: weights of the discriminator are no longer finite, at learning rates "
            f"{config.generator_learning_rate:g} and {config.discriminator_learning_rate:g}; lower them or raise "
            "r1_weight; the last good checkpoint is kept"
        ) from error


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
