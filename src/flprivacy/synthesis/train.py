"""Train one generator: from configuration and cohort to a generator's folder."""

from pathlib import Path

import keras

from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import TrainingError
from flprivacy.core.tensorflow_environment import numeric_settings
from flprivacy.synthesis.adversaries import Adversaries
from flprivacy.synthesis.central import train_central
from flprivacy.synthesis.conditions import categories, conditions_of
from flprivacy.synthesis.config import GeneratorConfig, generator_mapping
from flprivacy.synthesis.folder import GeneratorRecord
from flprivacy.synthesis.publication import publish_generator
from flprivacy.synthesis.run import GeneratorRun
from flprivacy.synthesis.sample import size_of
from flprivacy.training.checkpoint import Checkpoints
from flprivacy.training.pool import scan_pool


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
    run = GeneratorRun(
        config=config,
        cohort=cohort,
        pool=scan_pool(cohort, protocol="standard"),
        categories=known,
        conditions=conditions_of(cohort, rows, config.conditions),
        adversaries=Adversaries(size_of(config, cohort.meta.shape, known), config),
        checkpoints=Checkpoints(folder=work, key=_run_key(config, cohort)),
        samples=work / "samples",
    )
    return publish_generator(run, train_central(run), out)


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
