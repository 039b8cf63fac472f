"""Train one generator: from configuration and cohort to a generator's folder."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import TrainingError
from flprivacy.core.tensorflow_environment import numeric_settings
from flprivacy.privacy.gradients import prepare_process
from flprivacy.synthesis.adversaries import Adversaries
from flprivacy.synthesis.conditions import Conditions, categories, conditions_of
from flprivacy.synthesis.config import CENTRAL, FEDERATED, GeneratorConfig, generator_mapping
from flprivacy.synthesis.folder import SAMPLES_FOLDER, GeneratorRecord
from flprivacy.synthesis.private import PrivateDiscriminator, plan_private
from flprivacy.synthesis.publication import publish_generator
from flprivacy.synthesis.run import GeneratorRun, TrainedGenerator
from flprivacy.synthesis.sample import size_of
from flprivacy.synthesis.topologies import train_central, train_federated
from flprivacy.training.checkpoint import Checkpoints
from flprivacy.training.pool import natural_partition, scan_pool
from flprivacy.training.train import require_deterministic_kernels

TRAINERS: dict[str, Callable[[GeneratorRun], TrainedGenerator]] = {
    CENTRAL: train_central,
    FEDERATED: train_federated,
}


def train_generator(config: GeneratorConfig, cohort: Cohort, *, work: Path, out: Path) -> GeneratorRecord:
    """Train a generator and publish its folder, or carry on where a killed call with the same arguments stopped.

    On one kind of CPU with the same libraries and settings (:mod:`flprivacy.core.tensorflow_environment`), an
    interrupted and repeated call publishes the same weights, bit for bit, as an undisturbed one.

    Args:
        config: networks and training.
        cohort: an opened cohort, of which the training split is trained on.
        work: folder of checkpoints and of samples made as it learns; the caller removes it.
        out: the generator's folder; one already there is replaced.

    Raises:
        ConfigError: a privacy budget that cannot be met.
        TrainingError: a site or class without training scans, training that diverges or collapses, or a damaged
            checkpoint. Nothing is published; the last good checkpoint stays in ``work``.
        StorageError: ``work`` or ``out`` is not writable.
    """
    rows = cohort.rows(TRAIN)
    if not len(rows):
        raise TrainingError(f"{cohort.folder}: no scan in split 'train'; split the patients again")
    known = categories(config.conditions, sites=len(cohort.meta.site_names), classes=len(cohort.meta.class_names))
    conditions = conditions_of(cohort, rows, config.conditions)
    _check_conditions(cohort, conditions, config)
    settle_process(private=config.privacy is not None)
    adversaries = Adversaries(size_of(config, cohort.meta.shape, known), config)
    checkpoints = Checkpoints(folder=work, key=_run_key(config, cohort))
    run = GeneratorRun(
        config=config,
        cohort=cohort,
        pool=scan_pool(cohort, protocol="standard"),
        categories=known,
        conditions=conditions,
        adversaries=adversaries,
        checkpoints=checkpoints,
        samples=work / SAMPLES_FOLDER,
        private=_private(config, cohort, adversaries, checkpoints),
    )
    return publish_generator(run, TRAINERS[config.topology](run), out)


def settle_process(*, private: bool) -> None:
    """Set the process up for all that is done with a generator, to be called before Keras's backend runs anything.

    Training changes settings of the whole process, on which bits depend. So whatever comes after it asks for the same,
    and comes out the same in that process and in one of its own.

    Args:
        private: whether the generator's training is.
    """
    if private:
        prepare_process()
    require_deterministic_kernels()


def _private(
    config: GeneratorConfig, cohort: Cohort, adversaries: Adversaries, checkpoints: Checkpoints
) -> PrivateDiscriminator | None:
    """Return the private updates, with their secret, which is kept with the checkpoints."""
    parts = {0: np.arange(len(cohort.rows(TRAIN)))}
    if config.topology == FEDERATED:
        parts = dict(enumerate(natural_partition(cohort)))
    plan = plan_private(config, cohort, parts, work=checkpoints.path("").parent)
    return PrivateDiscriminator(plan, adversaries, shape=cohort.meta.shape) if plan else None


def _check_conditions(cohort: Cohort, conditions: Conditions, config: GeneratorConfig) -> None:
    """Refuse a site or class that a generator would be asked for and never saw."""
    for name, known, found in (
        ("site", cohort.meta.site_names, conditions.site),
        ("label", cohort.meta.class_names, conditions.label),
    ):
        absent = [known[i] for i in sorted(set(range(len(known))) - set(found.tolist()))]
        if name in config.conditions and absent:
            raise TrainingError(
                f"{cohort.folder}: {name} {absent[0]!r} has no training scan, so a generator cannot learn what its "
                f"scans look like; give it some, remove it from the cohort, or leave {name!r} out of conditions"
            )


def _run_key(config: GeneratorConfig, cohort: Cohort) -> str:
    """Return the digest of all that the trained weights depend on, which checkpoints are kept under."""
    return digest_json(
        {
            "generator": generator_mapping(config),
            "cohort": cohort.meta.digest,
            "settings": numeric_settings(),
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
        }
    )
