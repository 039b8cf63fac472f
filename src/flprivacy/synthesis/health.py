"""Whether a generator still learns: what diverges or collapses is stopped, with what to do about it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flprivacy.core.errors import TrainingError
from flprivacy.synthesis.config import GeneratorConfig
from flprivacy.synthesis.run import GeneratorRun
from flprivacy.synthesis.sample import scans

_LOOKED_AT = 8  # samples
_ALIKE_GREY_LEVELS = 0.5  # of 255; real scans differ by tens
_SATURATED = 0.01  # of a loss that is 1.39 where the discriminator tells nothing


class Answers(NamedTuple):
    """The discriminator's mean logits of real and of generated scans in one update, and its loss."""

    real: float
    made: float
    loss: float


def check_update(losses: Sequence[float], config: GeneratorConfig, *, where: str) -> None:
    """Refuse losses that are not finite.

    Raises:
        TrainingError: training diverged.
    """
    if not all(map(math.isfinite, losses)):
        raise TrainingError(
            f"{where}: a loss of the generator or the discriminator is no longer finite, at learning rates "
            f"{config.generator_learning_rate:g} and {config.discriminator_learning_rate:g}; lower them or raise "
            "r1_weight; the last good checkpoint is kept"
        )


def check_balance(answers: Sequence[Answers], *, where: str) -> None:
    """Refuse a discriminator that is never wrong, from which nothing can be learnt.

    Raises:
        TrainingError: it is.
    """
    if answers and max(a.loss for a in answers) < _SATURATED:
        raise TrainingError(
            f"{where}: the discriminator tells every generated scan from the real ones (loss {answers[-1].loss:.2g}), "
            "so the generator learns nothing more; lower discriminator_learning_rate, raise r1_weight or augment more; "
            "the last good checkpoint is kept"
        )


def check_variety(run: GeneratorRun, *, where: str) -> float:
    """Return how much samples differ, in grey levels of 255, or refuse a generator whose samples are alike.

    Noise and conditions differ from sample to sample. Nothing but the generator is looked at.

    Raises:
        TrainingError: it makes one scan whatever noise and conditions.
    """
    rng = np.random.default_rng(0)
    asked = run.categories.encode(run.categories.uniform(_LOOKED_AT, rng))
    made = scans(run.adversaries.generator, asked, seed=1)
    differences = np.abs(made[1:].astype(np.float64) - made[:-1])
    spread = float(differences.mean())
    if spread < _ALIKE_GREY_LEVELS:
        raise TrainingError(
            f"{where}: the generator collapsed, and makes the same scan whatever noise and conditions (samples differ "
            f"by {spread:.2g} of 255 grey levels); lower generator_learning_rate, raise r1_weight or width; the last "
            "good checkpoint is kept"
        )
    return spread
