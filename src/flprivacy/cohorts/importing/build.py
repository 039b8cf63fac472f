"""From the scans that a source lists to a cohort and a report.

Volumes are read one by one into a hidden folder beside the cohort, under names that follow from source and settings:
an interrupted import, repeated, reads only what is not there yet. The cohort is written from them at once, whole or
not at all, and the folder is removed.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from flprivacy.cohorts.format import write_cohort
from flprivacy.cohorts.importing.config import UNLABELLED, ImportConfig
from flprivacy.cohorts.importing.doubts import alike, constants, contradictions, people, spellings, twin_notes, twins
from flprivacy.cohorts.importing.found import Candidate, Found, LeftOut
from flprivacy.cohorts.importing.pickles import PICKLES, find_pickles
from flprivacy.cohorts.importing.pseudonyms import Pseudonyms
from flprivacy.cohorts.importing.reading import kept_volumes, read_all
from flprivacy.cohorts.importing.report import ImportReport, TakenScan, count_reasons
from flprivacy.cohorts.importing.table import DICOM_KEYS, NIFTI_KEYS, read_table
from flprivacy.cohorts.importing.thumbnails import Look, write_thumbnails
from flprivacy.cohorts.manifest import ATTRIBUTE_COLUMNS, check_manifest, conform
from flprivacy.cohorts.metadata import checked_meta
from flprivacy.cohorts.sampling import split_patients
from flprivacy.core.cohort import Cohort, CohortMeta
from flprivacy.core.errors import CohortError, ConfigError, check
from flprivacy.core.extras import naming_extras
from flprivacy.core.parsing import to_mapping
from flprivacy.core.tensorflow_environment import available_cores

SOURCES = ("dicom", "nifti", PICKLES)
_WORDS = 3  # reasons named in an error


def import_cohort(
    source: str,
    root: Path,
    out: Path,
    *,
    config: ImportConfig,
    pseudonyms: Pseudonyms | None = None,
    table: Path | None = None,
    report: Path | None = None,
    workers: int | None = None,
) -> tuple[Cohort, ImportReport]:
    """Import a cohort.

    Args:
        source: ``dicom`` (a tree of series), ``nifti`` (files that a table names) or ``reference-pickles`` (the
            reference study's files; ``flprivacy`` is another word for it).
        root: the folder with the files.
        out: where the cohort goes; a cohort already there is replaced.
        config: settings.
        pseudonyms: turn identifiers into pseudonyms; needed for ``dicom`` and ``nifti``.
        table: CSV or Parquet with site, sex, age, label and split; needed for ``nifti``.
        report: where the report goes; beside the cohort, ``<out>.import.json``, if None. It is also written where no
            scan can be taken. A page of thumbnails goes beside it, with the suffix ``.html``.
        workers: processes that read files, where there are many; one per usable core if None. As processes are
            spawned, a script calls this under ``if __name__ == "__main__":``.

    Returns:
        The cohort and the report.

    Raises:
        ConfigError: the source is unknown, or something that it needs is not given; ``workers`` is below 1.
        CohortError: no scan can be taken, a table or pickle is damaged, a site has too few patients to split, or a
            worker process was killed.
        StorageError: a folder cannot be written.
    """
    report = report or out.with_name(out.name + ".import.json")
    if out.resolve().is_relative_to(root.resolve()) or root.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"{out}: lies in the source folder, or the source in it; choose a folder apart from it")
    check(workers is None or workers >= 1, "workers", workers, "must be at least 1")
    workers = workers or available_cores()
    found = _find(source, root, config=config, pseudonyms=pseudonyms, table=table, workers=workers)
    if found.candidates:
        try:
            _described(list(found.candidates), found, config, out)  # refuse before hours are spent on reading
        except CohortError:
            _report(found, config, found.candidates, found.left_out).write(report)
            raise
    work = out.with_name(f".{out.name}.importing")
    read, failed, looks = read_all(found.candidates, work, workers)
    left_out = (*found.left_out, *failed)
    same = twins(read, work)
    try:
        if not read:
            reasons = "; ".join(f"{reason} ({n})" for reason, n in list(count_reasons(left_out).items())[:_WORDS])
            raise CohortError(f"{root}: no scan can be taken: {reasons or 'there is none'}; {report} names every one")
        meta, manifest = _described(read, found, config, out, people([*same, *alike(read)]))
    except CohortError:
        _tell(_report(found, config, read, left_out), report, None, looks)
        raise
    cohort = write_cohort(out, meta=meta, manifest=manifest, volumes=kept_volumes(read, work, found.shape))
    notes = twin_notes(same, dict(zip(manifest["scan_id"], manifest["split"], strict=True)))
    made = _report(found, config, read, left_out, cohort.meta.digest, notes)
    _tell(made, report, cohort, looks)
    shutil.rmtree(work, ignore_errors=True)
    return cohort, made


def _tell(made: ImportReport, path: Path, cohort: Cohort | None, looks: Mapping[str, Look]) -> None:
    """Write the report and the page beside it."""
    made.write(path)
    write_thumbnails(path.with_suffix(".html"), made, cohort, looks)


def _find(
    source: str,
    root: Path,
    *,
    config: ImportConfig,
    pseudonyms: Pseudonyms | None,
    table: Path | None,
    workers: int,
) -> Found:
    if source in (PICKLES, "flprivacy"):  # the second is what the source was called first
        if table is not None:
            raise ConfigError("a table is given; the reference study's pickles name no scans to look up in it")
        return find_pickles(root, config=config)
    if source not in SOURCES:
        raise ConfigError(f"source is {source!r}; must be one of {', '.join(SOURCES)}")
    if pseudonyms is None:
        raise ConfigError(f"no pseudonym key; {source} files name patients, so importing them needs one")
    if source == "dicom":
        with naming_extras():
            from flprivacy.cohorts.importing.dicom import find_dicom  # imports pydicom

        rows = read_table(table, DICOM_KEYS) if table else None
        return find_dicom(root, config=config, pseudonyms=pseudonyms, table=rows, workers=workers)
    if table is None:
        raise ConfigError("no table; NIfTI files do not say whose they are, so give one with 'file' and 'patient_id'")
    with naming_extras():
        from flprivacy.cohorts.importing.nifti import find_nifti  # imports nibabel

    return find_nifti(root, config=config, pseudonyms=pseudonyms, table=read_table(table, NIFTI_KEYS))


def _described(
    candidates: list[Candidate], found: Found, config: ImportConfig, out: Path, joined: Mapping[str, str] | None = None
) -> tuple[CohortMeta, pd.DataFrame]:
    """Return metadata and manifest of the cohort that these scans would be, checked.

    ``joined`` names who stands for patients who may be the same person, so that they are held out together.
    """
    sites = tuple(sorted({candidate.site for candidate in candidates}))
    classes = _classes(candidates, found)
    candidates.sort(key=lambda candidate: (candidate.site, candidate.scan_id))
    meta = CohortMeta(
        name=config.name,
        shape=found.shape,
        window_hu=config.window_hu,
        spacing_mm=None if found.source == PICKLES else config.spacing_mm,
        site_names=sites,
        class_names=classes,
    )
    numbers = {name: number for number, name in enumerate(sites)}
    manifest = pd.DataFrame(
        {
            "scan_id": [candidate.scan_id for candidate in candidates],
            "patient_id": [candidate.patient_id for candidate in candidates],
            "site_id": np.array([numbers[candidate.site] for candidate in candidates], dtype=np.int64),
            "split": _splits(candidates, config, joined or {}),
            "label": np.array([classes.index(candidate.label or UNLABELLED) for candidate in candidates]),
            "sex": pd.array([candidate.sex for candidate in candidates], dtype="str"),
            "age_years": np.array([candidate.age_years for candidate in candidates], dtype=np.float64),
        }
    )
    where = f"manifest for {out}"
    rows = conform(manifest, ATTRIBUTE_COLUMNS, where)
    check_manifest(rows, checked_meta(to_mapping(meta), f"metadata for {out}"), where)
    return meta, rows


def _classes(read: Sequence[Candidate], found: Found) -> tuple[str, ...]:
    labels = {candidate.label for candidate in read}
    if found.class_names:
        return found.class_names
    if labels == {""}:
        return (UNLABELLED,)
    if "" in labels:
        raise CohortError("some scans have a label and others none; label all of them in the table, or none")
    return tuple(sorted(labels, key=lambda label: (len(label) if label.isdigit() else 0, label)))


def _splits(candidates: Sequence[Candidate], config: ImportConfig, joined: Mapping[str, str]) -> list[str]:
    """Return the split of each scan: as given, or drawn by patient."""
    given = [candidate.split for candidate in candidates]
    if all(given):
        return given
    if any(given):
        raise CohortError("some scans have a split and others none; give all of them one in the table, or none")
    sites = sorted({candidate.site for candidate in candidates})
    numbers = [sites.index(candidate.site) for candidate in candidates]
    patients = [candidate.patient_id for candidate in candidates]
    for number, name in enumerate(sites):
        here = len({patient for patient, site in zip(patients, numbers, strict=True) if site == number})
        if here < 2:
            raise CohortError(
                f"site {name!r} has {here} patient, and every site needs one in training and one held out; "
                "leave the site out, merge it with another, or give the splits in the table"
            )
    together = [joined.get(patient, patient) for patient in patients]
    try:
        drawn = split_patients(together, numbers, test_fraction=config.test_fraction, seed=config.seed)
    except CohortError:  # too few are left apart, and the report says that identical scans are in both splits
        drawn = split_patients(patients, numbers, test_fraction=config.test_fraction, seed=config.seed)
    return [str(split) for split in drawn]


def _report(
    found: Found,
    config: ImportConfig,
    read: Sequence[Candidate],
    left_out: Sequence[LeftOut],
    digest: str = "",
    notes: tuple[str, ...] = (),
) -> ImportReport:
    sites = sorted({candidate.site for candidate in read})
    return ImportReport(
        source=found.source,
        config=config,
        cohort_digest=digest,
        sites={site: sum(candidate.site == site for candidate in read) for site in sites},
        patients=len({candidate.patient_id for candidate in read}),
        unknown={
            "sex": sum(candidate.sex is None for candidate in read),
            "age": sum(candidate.age_years is None for candidate in read),
        },
        taken=tuple(TakenScan(c.scan_id, c.site, c.slices, c.missing, c.notes) for c in read),
        left_out=tuple(left_out),
        reasons=count_reasons(left_out),
        counts=found.counts,
        notes=(*contradictions(read), *spellings(read), *notes, *constants(read), *found.notes),
    )
