"""Step ``synthesize_cohort``: make the synthetic scans of a plan's generator."""

from pathlib import Path

from flprivacy.cohorts.metadata import read_meta
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import publish_folder
from flprivacy.core.tensorflow_environment import import_keras
from flprivacy.execution.container import StepResult
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import open_store
from flprivacy.study.generator import for_generator
from flprivacy.study.plan import Plan
from flprivacy.synthesis.folder import PRIVATE_FOLDER, read_generator, read_lineage


def synthesize_cohort(*, plan: Path, cohort: Path, generator: Path, store: str, synthetic: Path) -> StepResult:
    """Make the synthetic scans that a plan asks of its generator, as a cohort of their own.

    Every scan is flagged in the manifest, and ``cohort.json`` names the generator and the cohort that it was trained
    on. Whatever reads scans of patients refuses it.

    Args:
        cohort: the cohort that the generator was trained on.
        generator: the generator, with its private part; empty where the plan asks for none.
        synthetic: folder to write: ``cohort.json``, ``manifest.parquet`` and the volumes; empty without a
            generator, and of one that failed what went wrong.

    Returns:
        The synthetic cohort's digest and its number of scans.

    Raises:
        ConfigError: a site or class that the generator does not know, or more or fewer scans than make sense.
        GeneratorError: its folder is damaged, or it was trained on another cohort.
    """
    run = Plan.read(plan)
    study = run.study
    if study.generator is None:
        with publish_folder(synthetic):
            return StepResult()

    def made() -> StepResult:
        meta, record = read_meta(cohort), read_generator(generator)
        config = study.scans_to_make(read_lineage(generator / PRIVATE_FOLDER).n_train)
        inputs = {"generator": record.digest, "cohort": meta.digest, "scans": to_mapping(config)}

        def make(work: Path, folder: Path) -> None:
            del work  # made in less time than a checkpoint of it would be worth
            import_keras()
            from flprivacy.synthesis.cohort import synthesize_cohort as synthesize  # imports Keras

            synthesize(generator, meta, folder, config=config)

        deliver(open_store(store).build("synthetic", inputs, make), synthetic)
        digest = read_meta(synthetic, synthetic=True).digest
        facts = {"digest": digest, "scans": config.scans, "generator": record.digest, "cohort": meta.digest}
        return StepResult(metadata={"synthetic": facts})

    return for_generator(run, "synthesize_cohort", made, inputs=(generator,), output=synthetic)
