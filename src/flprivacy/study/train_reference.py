"""Train one reference model of a target, and keep what it answers."""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from flprivacy.cohorts.metadata import read_meta
from flprivacy.cohorts.placed import open_rows
from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import to_mapping
from flprivacy.core.reference_scores import ReferenceJob
from flprivacy.core.tensorflow_environment import import_keras
from flprivacy.core.vocabulary import PATIENTS
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.code_fingerprint import fingerprint_of_kind
from flprivacy.storage.places import open_store
from flprivacy.study.config import StudyConfig
from flprivacy.study.generator import divergence_told
from flprivacy.study.plan import Plan
from flprivacy.study.references import recipe_of
from flprivacy.training.config import SyntheticConfig
from flprivacy.training.recipe import recipe_digest


def train_reference(run: Plan, cohort: Path, job: ReferenceJob, *, store: str, reference: Path) -> None:
    """Train one reference of a target's recipe on half of the patients or hospitals, and ask it for every scan.

    Its answers are kept in the store by recipe, cohort, half and index, and its weights are not: more references train
    only the ones that are new, targets that differ in their seed share theirs, and a changed recipe or cohort meets
    none of another. Where the target was trained on synthetic scans, a generator is trained first, on the same half.
    Training saves a checkpoint in the store after each epoch or round, and resumes from it.

    Args:
        run: the plan.
        cohort: folder of the cohort that the target was trained on, with all volumes.
        job: which reference.
        store: location of finished artifacts and checkpoints.
        reference: folder to write: what it answers for every scan, and which scans it was trained on. It belongs to
            the auditors.

    Raises:
        ConfigError: no reference of that target is planned.
        TrainingError: it cannot be trained on half of the patients, or of the sites.
    """
    index, drawn = job.index, job.drawn
    config = recipe_of(run, job.target, drawn)
    if config is None:
        raise ConfigError(f"target {job.target!r}: the plan asks for no references of it on half of the {drawn}")
    protocol = run.study.protocol
    inputs = {
        "recipe": recipe_digest(config),
        "cohort": read_meta(cohort).digest,
        "protocol": protocol,
        "index": index,
    } | ({"drawn": drawn} if drawn != PATIENTS else {})
    if config.synthetic is not None:
        made_by = [to_mapping(run.study.generator), to_mapping(run.study.synthesis), fingerprint_of_kind("synthetic")]
        inputs["generator"] = made_by

    def make(work: Path, folder: Path) -> None:
        import_keras()
        from flprivacy.training.references import train_reference as train  # imports Keras: only when there is work

        opened = open_rows(cohort, lambda found: np.arange(len(found.manifest)))
        with tempfile.TemporaryDirectory(prefix="flprivacy-") as scans:
            made = None if config.synthetic is None else partial(_made, run.study, config.synthetic, Path(scans))
            found = train(config, opened, protocol=protocol, index=index, drawn=drawn, work=work, synthesise=made)
            found.write(folder)

    deliver(open_store(store).build("reference", inputs, make), reference)


def _made(study: StudyConfig, asked: SyntheticConfig, out: Path, half: Cohort, number: int, work: Path) -> Cohort:
    """Return synthetic scans of a generator that is trained on a half as the study's is on all."""
    from flprivacy.synthesis.cohort import synthesise_again  # imports Keras

    if study.generator is None:
        raise ConfigError("the plan has no generator to train references with; add a 'generator' to the study")
    scans = asked.count(len(half.rows(TRAIN)))
    sites = {name: share for name, share in study.synthesis.sites.items() if name in half.meta.site_names}
    config = replace(study.synthesis, scans=scans, sites=sites)
    with divergence_told(study.generator):
        return synthesise_again(study.generator, config, half, number=number, work=work, out=out)
