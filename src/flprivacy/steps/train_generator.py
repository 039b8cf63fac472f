"""Step ``train_generator``: train the generator of a plan."""

from pathlib import Path

from flprivacy.cohorts.metadata import read_meta
from flprivacy.cohorts.placed import open_manifest, open_rows
from flprivacy.core.cohort import TRAIN
from flprivacy.core.publish import publish_folder
from flprivacy.core.tensorflow_environment import import_keras
from flprivacy.execution.container import StepResult
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import open_store
from flprivacy.study.generator import divergence_told, for_generator
from flprivacy.study.plan import Plan
from flprivacy.synthesis.config import generator_mapping
from flprivacy.synthesis.folder import read_generator
from flprivacy.synthesis.requested import check_request


def train_generator(*, plan: Path, cohort: Path, store: str, generator: Path) -> StepResult:
    """Train a conditional 3D generator of synthetic scans on a cohort's training scans.

    Training saves checkpoints in the store as it goes on, and resumes from the last one after an interruption. In a
    study whose generator diverges or collapses, the targets that need its scans fail with it, and the others do not.

    Args:
        cohort: the cohort to train on.
        generator: folder to write: weights, ``generator.json``, grids of samples, and the private part that auditors
            keep, the discriminator in it; empty where the plan asks for no generator, and in a study whose generator
            failed what went wrong.

    Returns:
        The generator's digest, and epsilon where training was private.

    Raises:
        ConfigError: the plan asks for scans that the generator could not make: of a site or class that there is not, or
            more or fewer than make sense.
        TrainingError: outside of a study, a site or class without training scans, or training that diverges or
            collapses.
    """
    run = Plan.read(plan)
    study = run.study
    config, meta = study.generator, read_meta(cohort)
    if config is None:
        with publish_folder(generator):
            return StepResult()
    n_train = len(open_manifest(cohort).rows(TRAIN))
    check_request(study.scans_to_make(n_train), config, meta, n_train=n_train)  # before hours of training
    inputs = {"config": generator_mapping(config), "cohort": meta.digest}

    def make(work: Path, folder: Path) -> None:
        import_keras()
        from flprivacy.synthesis.train import train_generator as train  # imports Keras: only when there is work

        with divergence_told(config):
            train(config, open_rows(cohort, lambda found: found.rows(TRAIN)), work=work, out=folder)

    def trained() -> StepResult:
        deliver(open_store(store).build("generator", inputs, make), generator)
        record = read_generator(generator)
        epsilon = {} if record.epsilon is None else {"epsilon": record.epsilon, "delta": record.delta}
        return StepResult(metadata={"generator": {"digest": record.digest, **epsilon}})

    return for_generator(run, "train_generator", trained, inputs=(), output=generator)
