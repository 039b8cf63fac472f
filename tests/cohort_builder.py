"""The one builder of small cohorts for tests: a table of scans and their voxels become a cohort folder."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from flprivacy.cohorts.format import write_cohort
from flprivacy.core.cohort import Cohort, CohortMeta, SyntheticOrigin

Voxels = npt.NDArray[np.uint8]


def scan_table(scans: int, **columns: object) -> pd.DataFrame:
    """Scans without voxels: each a patient of its own, two classes in turn, women of 50; ``columns`` replace these."""
    number = np.arange(scans)
    usual = {
        "scan_id": [f"scan-{i}" for i in number],
        "patient_id": [f"patient-{i}" for i in number],
        "site_id": 0,
        "split": "train",
        "label": number % 2,
        "sex": "F",
        "age_years": 50.0,
    }
    assert set(columns) <= set(usual)
    return pd.DataFrame(usual | columns)


def cohort_meta(
    shape: tuple[int, int, int],
    sites: Sequence[str],
    *,
    name: str = "tiny",
    classes: Sequence[str] = ("x", "y"),
    spacing_mm: tuple[float, float, float] | None = None,
) -> CohortMeta:
    return CohortMeta(
        name=name,
        shape=shape,
        window_hu=(-1000.0, 400.0),
        spacing_mm=spacing_mm,
        site_names=tuple(sites),
        class_names=tuple(classes),
    )


def build_cohort(folder: Path, table: pd.DataFrame, meta: CohortMeta, voxels: Iterable[Voxels] | int = 0) -> Cohort:
    """Write a cohort; voxels are noise of a seed where no volumes are given."""
    if isinstance(voxels, int):
        voxels = np.random.default_rng(voxels).integers(0, 256, (len(table), *meta.shape), dtype=np.uint8)
    return write_cohort(folder, meta=meta, manifest=table, volumes=iter(enumerate(voxels)))


def build_synthetic(folder: Path, table: pd.DataFrame, meta: CohortMeta, voxels: Iterable[Voxels] | int = 0) -> Cohort:
    """Write a cohort of synthetic scans, as of some generator of some cohort unless the metadata name them."""
    meta = (
        meta
        if meta.synthetic_from
        else replace(meta, synthetic_from=SyntheticOrigin(generator="a" * 64, cohort="b" * 64))
    )
    return build_cohort(folder, table.assign(split="train", synthetic=True), meta, voxels)
