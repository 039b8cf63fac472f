"""Reference models: what models trained as a target, on half of the patients or hospitals, answer for every scan."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from flprivacy.core.array_types import BoolArray, Float32Array
from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.errors import TrainingError
from flprivacy.core.progress import track
from flprivacy.core.reference_scores import ReferenceScores
from flprivacy.core.vocabulary import PATIENTS, SITES
from flprivacy.training.config import TargetConfig
from flprivacy.training.halves import Half, draw_half, draw_number, renumbered
from flprivacy.training.pool import Pool, rows_pool
from flprivacy.training.recipe import recipe_digest, reference_config, why_no_site_recipe
from flprivacy.training.topology import TrainedModel
from flprivacy.training.train import Trained, train_models
from flprivacy.training.utility import class_probabilities

# (half of the patients, what to draw from, folder of checkpoints) -> synthetic scans made from those of the half
Synthesise = Callable[[Cohort, int, Path], Cohort]


def train_reference(
    config: TargetConfig,
    cohort: Cohort,
    *,
    protocol: str,
    index: int,
    work: Path,
    drawn: str = PATIENTS,
    synthesise: Synthesise | None = None,
) -> ReferenceScores:
    """Train one reference and ask it for every scan of the cohort; its weights are not kept.

    A whole target is trained: a federation, or a model for every site, where the target is one. Halves are drawn from
    all patients, those that the target held out among them, so that for a scan it makes no difference to the draw
    whether it is a member of the target: of the patients at each site, a random half, and the other half for the
    reference that follows an even ``index``. Or they are drawn from the hospitals: the training scans of a random half
    of them, the central model's or the federation's only ones. Of a target that is trained on synthetic scans, too, the
    generator is part of the recipe: the reference has one of its own, which has seen its half alone.

    Args:
        config: how the target is trained.
        cohort: an opened cohort, with all of its volumes.
        protocol: preprocessing, ``standard`` or ``flprivacy-2023``.
        index: number of the reference; with recipe and cohort it draws the half, weights and batches.
        work: folder of checkpoints; the caller removes it. A killed call that is repeated carries on from there.
        drawn: what the half is of, ``patients`` or ``sites``.
        synthesise: trains a generator as the target's was trained, and makes as many scans.

    Raises:
        TrainingError: a site has a single patient, who cannot be in one half and not in the other; there are fewer than
            4 sites, or a model for each, of which to draw half; volumes are missing; synthetic scans are asked for, and
            nobody makes them; or as :func:`flprivacy.training.train.train_target`.
    """
    if drawn == SITES and (reason := why_no_site_recipe(config)):
        raise TrainingError(f"no reference on half of the sites: {reason}")
    recipe = recipe_digest(config)
    half = draw_half(cohort, drawn=drawn, recipe=recipe, index=index)
    of_sites = [SITES] if drawn == SITES else []
    number = draw_number("reference", recipe, cohort.meta.digest, *of_sites, index)
    name = f"{'site ' if of_sites else ''}reference {index}"
    synthetic = None
    if config.synthetic is not None and synthesise is not None:
        try:
            synthetic = synthesise(half.cohort, number, work / "synthetic")
        except TrainingError as error:
            raise TrainingError(f"{name}, whose generator is trained on half of the {drawn}: {error}") from error
    own = renumbered(reference_config(config, number), half)
    trained = train_models(name, own, half.cohort, protocol=protocol, work=work, synthetic=synthetic)
    trained_on = np.stack([_members(half, cohort, one) for one in trained.models])
    asked = _asked(trained_on, cohort)
    pool = rows_pool(cohort, np.arange(len(cohort.manifest)), protocol=protocol)
    answers = [
        _answers(trained, pool, *one) for one in track(list(zip(trained.models, asked, strict=True)), f"asking {name}")
    ]
    return ReferenceScores(
        recipe=recipe,
        cohort_digest=cohort.meta.digest,
        index=index,
        drawn=drawn,
        models=tuple(model.name for model in trained.models),
        probabilities=np.stack(answers),
        trained_on=trained_on,
    )


def _asked(trained_on: BoolArray, cohort: Cohort) -> BoolArray:
    """Return (model, scan) which models are asked: all about every scan, or that of its hospital where each has one."""
    sites = cohort.manifest["site_id"].to_numpy()
    own = np.stack([np.isin(sites, np.unique(sites[one])) for one in trained_on])
    return own if (own.sum(axis=0) == 1).all() else np.ones_like(own)


def _answers(trained: Trained, pool: Pool, model: TrainedModel, asked: BoolArray) -> Float32Array:
    """Return (scan, class) probabilities of one model, as the target is asked; NaN where it is not asked."""
    trained.target.model.set_weights(model.weights)
    found = np.full((len(pool.labels), pool.n_classes), np.nan, dtype=np.float32)
    found[asked] = class_probabilities(trained.target.model, pool, np.flatnonzero(asked))
    return found


def _members(half: Half, cohort: Cohort, model: TrainedModel) -> BoolArray:
    """Return (scan,) whether a model was trained on each row of the cohort; of hospitals, what those drawn hold.

    A client that a federation never asked took part in it all the same.
    """
    train = half.rows[half.cohort.rows(TRAIN)]
    trained_on = np.zeros(len(cohort.manifest), dtype=bool)
    trained_on[train if half.drawn == SITES else train[model.members]] = True
    return trained_on
