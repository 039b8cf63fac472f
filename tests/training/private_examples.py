"""Private runs of small networks on the tiny cohort, put together without building a registered architecture."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
from tiny_training import SHAPE

from flprivacy.core.cohort import Cohort
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.training.canaries import insert_canaries
from flprivacy.training.checkpoint import Checkpoints
from flprivacy.training.config import CanaryConfig, TargetConfig
from flprivacy.training.dp_sgd import dp_sgd
from flprivacy.training.local import Learner
from flprivacy.training.pool import scan_pool
from flprivacy.training.private_run import noise_seed, plan_private_run
from flprivacy.training.topology import Run

PRIVATE = PrivacyConfig(adjacency="zero-out", unit="scan", noise_multiplier=1.0, sampling_rate=0.25, noise_seed=5)


def softmax_regression() -> keras.Model:
    """Softmax regression from small weights on 2 x 2 x 2 averages: 2,560 weights, a step in milliseconds."""
    scans = keras.layers.Input((*SHAPE, 1))
    x = keras.layers.Flatten()(keras.layers.AveragePooling3D(2)(scans))
    start = keras.initializers.RandomNormal(stddev=0.01, seed=3)
    return keras.Model(scans, keras.layers.Dense(2, "softmax", use_bias=False, kernel_initializer=start)(x))


def private_run(
    cohort: Cohort,
    folder: Path,
    topology: str = "central",
    *,
    method=dp_sgd,
    privacy: PrivacyConfig = PRIVATE,
    canaries: CanaryConfig | None = None,
    **fields,
) -> Run:
    """Return a private run of softmax regression with checkpoints in ``folder``."""
    settings = {"batch_size": 4, "learning_rate": 0.1, "epochs": 3, "rounds": 3} | fields
    config = TargetConfig(topology=topology, privacy=privacy, canaries=canaries, **settings)
    model = softmax_regression()
    sites = len(cohort.meta.site_names)
    placed = insert_canaries(config, scan_pool(cohort, protocol="standard"), model, sites=sites)
    checkpoints = Checkpoints(folder=folder, key="0" * 64)
    private = plan_private_run(
        config,
        cohort,
        seed=noise_seed(privacy, folder / "0"),
        members=placed.scan_members if placed else None,
        canaries=placed.gradient if placed else None,
    )
    learner_method = _plain() if private.site_level else method(private, placed.gradient if placed else None)
    weights = model.get_weights()
    return Run(
        name="tiny",
        config=config,
        cohort=cohort,
        pool=placed.pool if placed else scan_pool(cohort, protocol="standard"),
        learner=Learner(model, learner_method, config),
        initial_weights=lambda number: [w + np.float32(0.001 * number) for w in weights],
        checkpoints=checkpoints,
        private=private,
        members=placed.members if placed else None,
        canaries=placed.gradient if placed else None,
    )


def _plain():
    from tiny_training import SGD

    return SGD


def with_shared_patients(cohort: Cohort) -> Cohort:
    """Return the cohort with one patient scanned at sites a and b, and one with three scans at a."""
    manifest = cohort.manifest.copy()
    train = manifest["split"] == "train"
    first = manifest.index[train & (manifest["site_id"] == 0)]
    other = manifest.index[train & (manifest["site_id"] == 1)]
    manifest.loc[[first[0], other[0]], "patient_id"] = "patient-both"
    manifest.loc[first[1:4], "patient_id"] = "patient-thrice"
    return dataclasses.replace(cohort, manifest=manifest)
