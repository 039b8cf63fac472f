"""The phantom cohort: plan every scan, render the plan on all cores, write it in the cohort format."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from flprivacy.cohorts.format import write_cohort
from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.patients import CLASS_NAMES, Patient, draw_patient
from flprivacy.cohorts.phantom.render import render_scan
from flprivacy.cohorts.phantom.scanner import WINDOW_HU, Acquisition, draw_acquisition
from flprivacy.cohorts.phantom.sites import Site, draw_sites
from flprivacy.cohorts.sampling import split_patients
from flprivacy.cohorts.workers import in_order
from flprivacy.core.cohort import Cohort, CohortMeta
from flprivacy.core.errors import check
from flprivacy.core.progress import progress
from flprivacy.core.tensorflow_environment import available_cores

REPEAT_SHARE = 0.13  # of the patients, who were scanned twice

# The first number of a seed after the cohort's own; the sites' stream is 1.
_REPEAT_STREAM, _PATIENT_STREAM, _ANATOMY_STREAM, _ACQUISITION_STREAM, _NOISE_STREAM = range(2, 7)

_CHUNK_VOXELS = 3 << 20  # of one task: large enough to hide its overhead, small enough to keep memory low
_WORTH_VOXELS = 6 << 20  # less work than this is done before worker processes have started


@dataclass(frozen=True, kw_only=True)
class ScanPlan:
    """Everything that one scan is rendered from."""

    site: int
    patient_id: str
    repeat: int  # 0 for the patient's first scan, 1 for the second
    patient: Patient
    acquisition: Acquisition
    patient_seeds: tuple[int, ...]  # draw what is the same in each of the patient's scans
    scan_seeds: tuple[int, ...]  # draw this scan's noise


def phantom_cohort(config: PhantomConfig, folder: Path, *, workers: int | None = None) -> Cohort:
    """Generate a phantom cohort and write it to a folder, atomically.

    The result depends on the configuration alone, not on the number of workers. Memory holds a few volumes per
    worker whatever the number of scans.

    Args:
        config: sites, sizes and strengths.
        folder: where the cohort goes; a cohort already there is replaced.
        workers: processes that render; one per usable core if None. A small cohort is rendered in this process.
            As processes are spawned, a script calls this under ``if __name__ == "__main__":``.

    Returns:
        The cohort. Its rows are sorted by site; ``spacing_mm`` is None, as the field of view differs between scans.

    Raises:
        ConfigError: ``workers`` is below 1.
        CohortError: a worker process was killed.
        StorageError: the folder cannot be written.

    Example:
        >>> phantom_cohort(PhantomConfig(scans=84, shape=(8, 32, 32)), Path("cohort"))  # doctest: +SKIP
    """
    check(workers is None or workers >= 1, "workers", workers, "must be at least 1")
    sites = draw_sites(config)
    plans = plan_scans(sites, config.seed)
    meta = CohortMeta(
        name=config.name,
        shape=config.shape,
        window_hu=WINDOW_HU,
        spacing_mm=None,
        site_names=tuple(site.name for site in sites),
        class_names=CLASS_NAMES,
    )
    volumes = _render(plans, config.shape, workers or available_cores())
    return write_cohort(folder, meta=meta, manifest=_manifest(plans, config), volumes=volumes)


def plan_scans(sites: Sequence[Site], seed: int) -> tuple[ScanPlan, ...]:
    """Draw every site's patients and the settings of every scan, in the order of the manifest."""
    plans: list[ScanPlan] = []
    index = 0
    for number, site in enumerate(sites):
        share = np.random.default_rng((seed, _REPEAT_STREAM, number)).random()
        repeats = int(site.scans * REPEAT_SHARE / (1.0 + REPEAT_SHARE) + share)
        for place in range(site.scans - repeats):
            patient = draw_patient(np.random.default_rng((seed, _PATIENT_STREAM, index)), site.mix)
            for repeat in range(2 if place < repeats else 1):
                settings = np.random.default_rng((seed, _ACQUISITION_STREAM, index, repeat))
                plans.append(
                    ScanPlan(
                        site=number,
                        patient_id="p-" + hashlib.sha256(f"{seed}/{index}".encode()).hexdigest()[:12],
                        repeat=repeat,
                        patient=patient,
                        acquisition=draw_acquisition(settings, site.scanner, patient),
                        patient_seeds=(seed, _ANATOMY_STREAM, index),
                        scan_seeds=(seed, _NOISE_STREAM, index, repeat),
                    )
                )
            index += 1
    return tuple(plans)


def _manifest(plans: Sequence[ScanPlan], config: PhantomConfig) -> pd.DataFrame:
    patients, sites = [plan.patient_id for plan in plans], [plan.site for plan in plans]
    return pd.DataFrame(
        {
            "scan_id": [f"{plan.patient_id}-{plan.repeat}" for plan in plans],
            "patient_id": patients,
            "site_id": np.array(sites, dtype=np.int64),
            "split": split_patients(patients, sites, test_fraction=config.test_fraction, seed=config.seed),
            "label": np.array([plan.patient.label for plan in plans], dtype=np.int64),
            "sex": [plan.patient.sex for plan in plans],
            "age_years": [round(plan.patient.age_years, 1) for plan in plans],
        }
    )


def render_plan(plan: ScanPlan, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Render one scan, uint8 (depth, height, width)."""
    return render_scan(
        shape, plan.patient, plan.acquisition, patient_seeds=plan.patient_seeds, scan_seeds=plan.scan_seeds
    )


def _render(
    plans: Sequence[ScanPlan], shape: tuple[int, int, int], workers: int
) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Yield (row number, volume) in order."""
    voxels = int(np.prod(shape))
    workers = 1 if voxels * len(plans) <= _WORTH_VOXELS else workers
    chunk = int(np.clip(_CHUNK_VOXELS // voxels, 1, max(1, len(plans) // (4 * workers))))
    what = f"rendering {shape} volumes"
    source = in_order(partial(render_plan, shape=shape), plans, workers=workers, chunk=chunk, what=what)
    with progress("generating scans", len(plans)) as counter:
        for row, volume in enumerate(source):
            yield row, volume
            counter.advance()
