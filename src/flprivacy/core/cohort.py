"""The cohort: scans of many sites, with what is known about each patient."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd  # slow to import, and attacks on arrays do without

SCHEMA_VERSION = 1
TRAIN, TEST = "train", "test"
SEXES = ("F", "M")
MANIFEST_COLUMNS = (
    "scan_id",  # str, unique
    "patient_id",  # str, a pseudonym
    "site_id",  # int, index into CohortMeta.site_names
    "split",  # "train" or "test"
    "label",  # int, index into CohortMeta.class_names
    "sex",  # "F", "M" or null
    "age_years",  # float or null
    "shard",  # str, path of the volume file relative to the cohort's folder
    "row",  # int, index of the scan in its shard
    "sha256",  # str, of the volume's bytes
)
SYNTHETIC_COLUMN = "synthetic"  # bool, true in every row of a synthetic cohort, whose manifest alone has it


@dataclass(frozen=True, kw_only=True)
class SyntheticOrigin:
    """Where the scans of a synthetic cohort come from, by digests."""

    generator: str  # of the generator that made them
    cohort: str = ""  # of the cohort that the generator was trained on; empty where it was published


@dataclass(frozen=True, kw_only=True)
class CohortMeta:
    """Contents of ``cohort.json``."""

    name: str
    shape: tuple[int, int, int]  # (depth, height, width) of every volume, in voxels
    window_hu: tuple[float, float]  # (low, high) intensities that 0 and 255 stand for
    spacing_mm: tuple[float, float, float] | None  # (depth, height, width) size of a voxel; None where scans differ
    site_names: tuple[str, ...]  # name of each site; ``site_id`` indexes it
    class_names: tuple[str, ...]  # name of each disease class; ``label`` indexes it
    digest: str = ""  # SHA-256 over every row's content hash and attributes
    synthetic_from: SyntheticOrigin | None = None  # of a synthetic cohort; None: its scans are of patients
    schema_version: int = SCHEMA_VERSION

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of its manifest."""
        return MANIFEST_COLUMNS if self.synthetic_from is None else (*MANIFEST_COLUMNS, SYNTHETIC_COLUMN)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cohort:
    """An opened cohort: metadata, manifest and where its volumes are. Volumes are read by flprivacy.cohorts."""

    meta: CohortMeta  # contents of ``cohort.json``
    # one row a scan, columns ``meta.columns``, index 0..n-1. A scan's position in it is its *row number*, the way that
    # every other part refers to scans
    manifest: "pd.DataFrame"
    folder: Path
    # (n,) where each scan's volume is in its local shard, -1 where it was not fetched; None for a whole cohort, where
    # the manifest's ``row`` says it. A cohort of which only some volumes are here is the same cohort: same manifest,
    # same digest, same exposed samples
    places: npt.NDArray[np.int64] | None = None

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Return the row numbers of a split, ascending."""
        return np.flatnonzero((self.manifest["split"] == split).to_numpy())
