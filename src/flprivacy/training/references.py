"""Reference models: what models trained as a target, on a random half of the patients, answer for every scan."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.sampling import split_patients
from flprivacy.core.cohort import TEST, TRAIN, Cohort
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import CohortError, TrainingError
from flprivacy.core.progress import track
from flprivacy.core.reference_scores import ReferenceScores
from flprivacy.training.config import TargetConfig
from flprivacy.training.pool import scan_pool
from flprivacy.training.recipe import recipe_digest, reference_config
from flprivacy.training.topology import TrainedModel
from flprivacy.training.train import Trained, train_models
from flprivacy.training.utility import class_probabilities

BoolArray = npt.NDArray[np.bool_]


# (half of the patients, what to draw from, folder of checkpoints) -> synthetic scans made from those of the half
Synthesise = Callable[[Cohort, int, Path], Cohort]


def train_reference(
    config: TargetConfig,
    cohort: Cohort,
    *,
    protocol: str,
    index: int,
    work: Path,
    synthesise: Synthesise | None = None,
) -> ReferenceScores:
    """Train one reference and ask it for every scan of the cohort; its weights are not kept.

    A whole target is trained: a federation, or a model for every site, where the target is one. Halves are drawn from
    all patients, those that the target held out among them, so that for a scan it makes no difference to the draw
    whether it is a member of the target: of the patients at each site, a random half, and the other half for the
    reference that follows an even ``index``. Of a target that is trained on synthetic scans, too, the generator is part
    of the recipe: the reference has one of its own, which has seen its half alone.

    Args:
        config: how the target is trained.
        cohort: an opened cohort, with all of its volumes.
        protocol: preprocessing, ``standard`` or ``flprivacy-2023``.
        index: number of the reference; with recipe and cohort it draws patients, weights and batches.
        work: folder of checkpoints; the caller removes it. A killed call that is repeated carries on from there.
        synthesise: trains a generator as the target's was trained, and makes as many scans.

    Raises:
        TrainingError: a site has a single patient, who cannot be in one half and not in the other; volumes are missing;
            synthetic scans are asked for, and nobody makes them; or as
            :func:`flprivacy.training.train.train_target`.
    """
    recipe = recipe_digest(config)
    half = reference_cohort(cohort, recipe=recipe, index=index)
    number = _number("reference", recipe, cohort.meta.digest, index)
    name = f"reference {index}"
    synthetic = None
    if config.synthetic is not None and synthesise is not None:
        try:
            synthetic = synthesise(half, number, work / "synthetic")
        except TrainingError as error:
            raise TrainingError(f"{name}, whose generator is trained on half of the patients: {error}") from error
    own = reference_config(config, number)
    trained = train_models(name, own, half, protocol=protocol, work=work, synthetic=synthetic)
    return ReferenceScores(
        recipe=recipe,
        cohort_digest=cohort.meta.digest,
        index=index,
        models=tuple(model.name for model in trained.models),
        probabilities=np.stack([_answers(trained, one) for one in track(trained.models, f"asking {name}")]),
        trained_on=np.stack([_members(half, one) for one in trained.models]),
    )


def reference_cohort(cohort: Cohort, *, recipe: str, index: int) -> Cohort:
    """Return the cohort as a reference sees it: a random half of the patients to train on, the others held out.

    Raises:
        TrainingError: a site has a single patient, or volumes are missing.
    """
    if cohort.places is not None and (cohort.places < 0).any():
        raise TrainingError(
            f"{cohort.folder}: holds the volumes of {int((cohort.places >= 0).sum())} of {len(cohort.places)} scans, "
            "and references are trained on all; pull the whole cohort"
        )
    manifest, pair = cohort.manifest, _number("halves", recipe, cohort.meta.digest, index // 2)
    try:
        split = split_patients(manifest["patient_id"], manifest["site_id"], test_fraction=0.5, seed=pair)
    except CohortError as error:
        raise TrainingError(f"{cohort.folder}: no two halves for references: {error}") from error
    if index % 2:
        split = np.where(split == TRAIN, TEST, TRAIN)
    digest = digest_json([cohort.meta.digest, "reference", recipe, index])
    return replace(cohort, manifest=manifest.assign(split=split), meta=replace(cohort.meta, digest=digest))


def _number(*parts: object) -> int:
    """Return what is drawn from: a number below 2^31 of the digest of some parts."""
    return int(digest_json(list(parts))[:16], 16) % 2**31


def _answers(trained: Trained, model: TrainedModel) -> npt.NDArray[np.float32]:
    """Return (scan, class) probabilities of one model for every row of the cohort, as the target is asked."""
    run = trained.run
    trained.target.model.set_weights(model.weights)
    found = np.empty((len(run.cohort.manifest), len(run.cohort.meta.class_names)), dtype=np.float32)
    for split in (TRAIN, TEST):
        pool = scan_pool(run.cohort, protocol=run.pool.protocol, split=split)
        found[run.cohort.rows(split)] = class_probabilities(trained.target.model, pool)
    return found


def _members(half: Cohort, model: TrainedModel) -> BoolArray:
    """Return (scan,) whether a model was trained on each row of the cohort."""
    trained_on = np.zeros(len(half.manifest), dtype=bool)
    trained_on[half.rows(TRAIN)[model.members]] = True
    return trained_on
