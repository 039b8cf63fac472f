"""Differential privacy of a generator: DP-SGD on its discriminator, the only network that sees real scans.

In an update every scan or patient takes part with the planned rate, its gradient is clipped, and noise is added to
their sum once (:class:`flprivacy.privacy.gradients.DpSgdRule`). Generated scans go through the same clipping, so that
neither kind outweighs the other. They cost nothing: they follow from weights that are private already and from
conditions drawn uniformly. So does the generator, which learns from the discriminator alone (post-processing).

R1 and augmentation are left out: a bound on spectral norms needs no data, and noise leaves little to learn by heart.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from flprivacy.core.array_types import Float32Array
from flprivacy.core.cohort import Cohort
from flprivacy.core.target import Disclosure, PrivacyStatement
from flprivacy.models.initialisation import undisturbed_random
from flprivacy.privacy.gradients import DpSgdRule
from flprivacy.synthesis.adversaries import Adversaries
from flprivacy.synthesis.config import FEDERATED, GeneratorConfig
from flprivacy.training.pool import Indices
from flprivacy.training.private_run import PrivateRun, draw_chunks, noise_seed, plan_for_clients, training_patients

_MADE, _REAL = 0, 1

Real = Callable[[Indices], tuple[Float32Array, Float32Array]]
"""(k,) positions among a client's scans -> (k, depth, height, width, 1) scans and (k, width) encoded conditions"""


def plan_private(
    config: GeneratorConfig, cohort: Cohort, parts: dict[int, Indices], *, work: Path
) -> PrivateRun | None:
    """Return what private training is to do, or None where it is not private.

    Args:
        parts: client number -> its scans, as indices into the training pool.
        work: folder of the checkpoints, with which the secret that draws noise is kept.

    Raises:
        ConfigError: a budget that cannot be met, a delta of 1 / n or more, a batch larger than the data, or data that
            exceed what is declared.
    """
    privacy = config.privacy
    if privacy is None:
        return None
    patient_of = training_patients(cohort)
    federated = config.topology == FEDERATED
    updates = config.rounds * config.local_steps if federated else config.steps
    return plan_for_clients(
        privacy,
        {number: patient_of[part] for number, part in parts.items()},
        {number: {"steps": updates * config.discriminator_steps} for number in parts},
        seed=noise_seed(privacy, work),
        batch_size=config.batch_size,
        named=federated,
        federated=federated,
    )


class PrivateDiscriminator:
    """The private updates of a discriminator on any client's scans."""

    def __init__(self, plan: PrivateRun, adversaries: Adversaries, *, shape: tuple[int, int, int]) -> None:
        """Compile the update.

        Raises:
            TrainingError: the discriminator would break the promise.
        """
        self._plan, self._physical = plan, plan.physical_batch()
        with undisturbed_random():
            judge = _judge(adversaries.discriminator, shape)
        self._rule = DpSgdRule(judge, adversaries.discriminator_optimizer, plan.settings(), seed=plan.seed)

    def update(self, client: int, number: int, real: Real, made: Float32Array, asked: Float32Array) -> None:
        """Do one update.

        Args:
            client: whose scans.
            number: of the update among this client's; names its noise.
            real: (k,) positions among the client's scans -> those scans, and their encoded conditions.
            made: (m, depth, height, width, 1) generated scans, as many as real ones take part on average.
            asked: (m, width) their encoded conditions.
        """
        event, key = self._plan.events[client], (client, number)
        self._rule.serve(noise_multiplier=event.noise_multiplier, expected_batch=event.expected_batch)
        everyone = np.ones(len(made), dtype=np.float32)
        answer = np.eye(2, dtype=np.float32)
        self._rule.step(_packed(made, asked), answer[[_MADE] * len(made)], everyone, key=key, ends=everyone, last=False)
        for chunk in draw_chunks(self._plan, len(self._plan.patients[client]), self._physical, key):
            packed = _packed(*real(chunk.indices))
            answers = answer[[_REAL] * len(packed)]
            self._rule.step(packed, answers, chunk.mask, key=key, ends=chunk.ends, last=chunk.last)

    def made_per_update(self, client: int) -> int:
        """Return how many scans to generate for one update: as many as real ones take part on average."""
        return max(1, round(self._plan.events[client].expected_batch))

    def units(self, client: int) -> int:
        """Return how many units a client has, a number that everybody may know."""
        return self._plan.events[client].population

    def recorded(self, steps: dict[int, int]) -> dict[str, Any]:
        """Return the fields of a published record that say what updates were done and what they guarantee."""
        found = self._plan.recorded(steps)
        return found | {"privacy": _of_a_generator(found["privacy"])}


def _judge(discriminator: keras.Model, shape: tuple[int, int, int]) -> keras.Model:
    """Return the discriminator as a classifier of one input, scan and conditions end to end: generated or real."""
    voxels, conditions = math.prod(shape), discriminator.input_shape[1][1]
    packed = keras.Input((voxels + conditions,), name="packed")
    scan = layers.Reshape((*shape, 1), name="unpacked")(packed[:, :voxels])
    logit = discriminator([scan, packed[:, voxels:]])
    # Its cross-entropy is flprivacy.synthesis.networks.real_loss of real scans and fake_loss of generated ones.
    probabilities = ops.softmax(layers.Concatenate(name="answers")([ops.zeros_like(logit), logit]))
    return keras.Model(packed, probabilities, name="judge")


def _packed(scans: Float32Array, encoded: Float32Array) -> Float32Array:
    return np.concatenate([scans.reshape(len(scans), -1), encoded], axis=1)


def _of_a_generator(stated: PrivacyStatement) -> PrivacyStatement:
    """Say of a generator what is said of a target, and what is a generator's alone."""
    known = tuple(replace(d, what=_renamed(d.what), why=_renamed(d.why)) for d in stated.disclosures)
    caveats = tuple(map(_renamed, stated.caveats))
    return replace(
        stated, disclosures=(*_FREE, *known, _MIX), caveats=(*caveats, f"Not covered: {_MIX.what} ({_MIX.why}).")
    )


def _renamed(words: str) -> str:
    return words.replace("target.json", "generator.json")


_FREE = (
    Disclosure(
        what="generated scans, as many as are wanted, and whatever is trained on them",
        covered=True,
        why="they follow from the generator, which learnt from the discriminator's noised updates alone",
    ),
)
_MIX = Disclosure(
    what="how many training scans there are of each site, class, sex and age band",
    covered=False,
    why="training draws conditions of generated scans uniformly and does not look at it; a synthetic cohort of the "
    "same mix tells it without noise",
)
