"""The generator's folder, whole or absent: what may be published, and the private part that auditors keep."""

import secrets
import shutil
from dataclasses import replace
from pathlib import Path

from flprivacy.core.cohort import TRAIN
from flprivacy.core.digests import digest_file
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import publish_folder, write_json
from flprivacy.synthesis.conditions import histogram_of
from flprivacy.synthesis.config import generator_mapping
from flprivacy.synthesis.folder import (
    DISCRIMINATOR_FILE,
    GENERATOR_FILE,
    HISTORY_FILE,
    LINEAGE_FILE,
    MEMBERS_FILE,
    PRIVATE_FOLDER,
    SAMPLES_FOLDER,
    WEIGHTS_FILE,
    GeneratorLineage,
    GeneratorRecord,
    facts_of,
    generator_digest,
    write_network,
)
from flprivacy.synthesis.run import GeneratorRun, TrainedGenerator
from flprivacy.targets.lineage import pseudonym, released_training

_OWNER_ONLY = 0o700
_MODEL = "generator"


def publish_generator(run: GeneratorRun, trained: TrainedGenerator, out: Path) -> GeneratorRecord:
    """Write the generator's folder at ``out`` and return its record.

    Raises:
        StorageError: the folder cannot be written.
    """
    networks = run.adversaries
    networks.start(trained.weights)
    with publish_folder(out) as folder:
        digest = write_network(folder / WEIGHTS_FILE, networks.published(trained.updates), run.cohort.meta.shape)
        record = _record(run, trained, digest, digest_file(folder / WEIGHTS_FILE))
        write_json(folder / GENERATOR_FILE, to_mapping(record))
        if run.samples.is_dir():
            shutil.copytree(run.samples, folder / SAMPLES_FOLDER)
        _write_private_part(folder / PRIVATE_FOLDER, run, trained, record)
    return record


def _record(run: GeneratorRun, trained: TrainedGenerator, tensors: str, sha256: str) -> GeneratorRecord:
    meta = run.cohort.meta
    training = released_training(generator_mapping(run.config))
    record = GeneratorRecord(
        shape=meta.shape,
        window_hu=meta.window_hu,
        spacing_mm=meta.spacing_mm,
        site_names=meta.site_names,
        class_names=meta.class_names,
        training=training,
        digest="",
        sha256=sha256,
        **(run.private.recorded(trained.steps) if run.private is not None else {}),
    )
    return replace(record, digest=generator_digest(tensors, training, facts_of(record)))


def _write_private_part(folder: Path, run: GeneratorRun, trained: TrainedGenerator, record: GeneratorRecord) -> None:
    """Write the discriminator, who the members were, losses, the mix of conditions, and the seeds."""
    folder.mkdir(mode=_OWNER_ONLY)
    write_network(folder / DISCRIMINATOR_FILE, run.adversaries.discriminator, run.cohort.meta.shape)
    write_json(folder / HISTORY_FILE, trained.history)
    key, cohort, rows = secrets.token_hex(32), run.cohort, run.cohort.rows(TRAIN)
    scans = [str(scan) for scan in cohort.manifest["scan_id"].to_numpy()[rows]]
    write_json(folder / MEMBERS_FILE, {_MODEL: sorted(pseudonym(key, cohort.meta.digest, s) for s in scans)})
    lineage = GeneratorLineage(
        generator=record,
        cohort_digest=cohort.meta.digest,
        training=generator_mapping(run.config),
        members_key=key,
        n_train=len(rows),
        histogram=histogram_of(cohort, rows),
    )
    write_json(folder / LINEAGE_FILE, to_mapping(lineage))
    for file in folder.iterdir():
        file.chmod(_OWNER_ONLY & 0o666)
