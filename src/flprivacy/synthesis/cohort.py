"""A synthetic cohort: the scans of a generator in the cohort format, flagged and linked to where they come from."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from flprivacy.cohorts.format import write_cohort
from flprivacy.core.array_types import Volumes
from flprivacy.core.cohort import SEXES, SYNTHETIC_COLUMN, TRAIN, Cohort, CohortMeta, SyntheticOrigin
from flprivacy.core.errors import GeneratorError
from flprivacy.core.progress import track
from flprivacy.synthesis.conditions import Conditions
from flprivacy.synthesis.config import GeneratorConfig, SynthesisConfig
from flprivacy.synthesis.folder import PRIVATE_FOLDER, GeneratorLineage, read_generator, read_lineage
from flprivacy.synthesis.requested import requested
from flprivacy.synthesis.sample import Generator, load_generator
from flprivacy.synthesis.train import settle_process, train_generator

_AT_ONCE = 64  # scans in memory


def synthesize_cohort(generator: Path, trained_on: CohortMeta, out: Path, *, config: SynthesisConfig) -> Cohort:
    """Write a cohort of a generator's scans, each a training scan of a patient of its own who does not exist.

    The result depends on generator, cohort and configuration alone. Sex is stated where the generator is conditioned on
    it; an age is not, as a band is none.

    Args:
        generator: folder of the generator, with its private part, which says what it was trained on.
        trained_on: metadata of the cohort that it was trained on.
        out: where the cohort goes; a cohort already there is replaced.
        config: how many scans, and of whom.

    Raises:
        GeneratorError: the generator's folder is damaged, or it was trained on another cohort, or makes scans of
            another shape or of other sites and classes.
        ConfigError: a site or class that it does not know, or more scans than make sense.
        StorageError: the folder cannot be written.
    """
    lineage = read_lineage(generator / PRIVATE_FOLDER)
    check_trained_on(generator, lineage, trained_on)
    conditions = requested(config, lineage)
    settle_process(private=lineage.generator.privacy is not None)
    meta = CohortMeta(
        name=f"{trained_on.name}-synthetic",
        shape=trained_on.shape,
        window_hu=trained_on.window_hu,
        spacing_mm=trained_on.spacing_mm,
        site_names=trained_on.site_names,
        class_names=trained_on.class_names,
        synthetic_from=SyntheticOrigin(generator=lineage.generator.digest, cohort=trained_on.digest),
    )
    volumes = _volumes(load_generator(generator), conditions, config.seed)
    return write_cohort(out, meta=meta, manifest=_manifest(conditions), volumes=volumes)


def check_trained_on(generator: Path, lineage: GeneratorLineage, cohort: CohortMeta) -> None:
    """Refuse a generator that is not of a cohort.

    Raises:
        GeneratorError: the folder and its private part are of two generators, it was trained on another cohort, or it
            makes scans of another shape or of other sites and classes.
    """
    record, private = read_generator(generator), generator / PRIVATE_FOLDER
    if record.digest != lineage.generator.digest:
        raise GeneratorError(
            f"{private}: is of generator {lineage.generator.digest[:12]}, not of {record.digest[:12]}; give the "
            "private part that was kept when this one was trained"
        )
    for name in ("shape", "window_hu", "site_names", "class_names"):
        found, wanted = getattr(record, name), getattr(cohort, name)
        if found != wanted:
            raise GeneratorError(
                f"{generator}: {name} of its scans is {found}, and of cohort {cohort.name!r} {wanted}; train a "
                "generator on this cohort"
            )
    if lineage.cohort_digest != cohort.digest:
        raise GeneratorError(
            f"{generator}: was trained on cohort {lineage.cohort_digest[:12]}, not on {cohort.name!r} "
            f"({cohort.digest[:12]}); train a generator on this cohort"
        )


def _manifest(conditions: Conditions) -> pd.DataFrame:
    n = len(conditions)
    names = [f"synthetic-{number:06d}" for number in range(n)]
    sexes = np.full(n, len(SEXES)) if conditions.sex is None else conditions.sex
    return pd.DataFrame(
        {
            "scan_id": names,
            "patient_id": names,
            "site_id": conditions.site,
            "split": TRAIN,
            "label": conditions.label,
            "sex": [SEXES[sex] if sex < len(SEXES) else None for sex in sexes.tolist()],
            "age_years": np.full(n, np.nan),
            SYNTHETIC_COLUMN: True,
        }
    )


def _volumes(generator: Generator, conditions: Conditions, seed: int) -> Iterator[tuple[int, Volumes]]:
    """Yield (row number, uint8 (depth, height, width)) of each scan."""
    starts = range(0, len(conditions), _AT_ONCE)
    for start in track(starts, "making synthetic scans", len(starts)):
        rows = np.arange(start, min(start + _AT_ONCE, len(conditions)))
        made = generator.sample(conditions.take(rows), seed=seed, first=start)
        yield from zip(rows.tolist(), made, strict=True)


def synthesise_again(
    config: GeneratorConfig, scans: SynthesisConfig, cohort: Cohort, *, number: int, work: Path, out: Path
) -> Cohort:
    """Train a generator on a cohort's training scans and return a cohort of its own.

    Args:
        config: how the generator is trained; seeds are replaced.
        scans: which scans it makes.
        cohort: an opened cohort.
        number: draws everything, in place of the configured seeds.
        work: folder of checkpoints; the caller removes it. A killed call that is repeated carries on from there.
        out: folder to write the generator and its scans into, which are not worth keeping.

    Raises:
        TrainingError: training diverges or collapses.
        ConfigError: more scans than make sense.
    """
    privacy = config.privacy
    if privacy is not None and privacy.noise_seed is not None:
        privacy = replace(privacy, noise_seed=number)
    drawn = replace(config, seed=number, privacy=privacy)
    train_generator(drawn, cohort, work=work, out=out / "generator")
    return synthesize_cohort(out / "generator", cohort.meta, out / "scans", config=replace(scans, seed=number))
