"""A cohort on a server, for the tests of steps that pull it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flprivacy.cohorts.sampling import exposed_rows
from flprivacy.core.cohort import Cohort
from tests.cohort_builder import build_cohort, cohort_meta, scan_table
from tests.services.scripted_s3 import ScriptedS3

SHAPE = (3, 20, 30)
VOLUME_BYTES = 1800
URI = "s3://bucket/data/cohort"


def write_source(folder: Path, scans: int = 120, sites: int = 3, seed: int = 5) -> Cohort:
    """Write a cohort of uneven sites; the first has 2 of 4 scans, and every fourth patient is held out."""
    number = np.arange(scans)
    site = np.where(number < scans // 2, 0, number % sites)
    table = scan_table(
        scans,
        scan_id=[f"scan-secret-{i}" for i in number],
        patient_id=[f"patient-secret-{i // 2}" for i in number],
        site_id=site,
        split=np.where(number // 2 % 4 == 3, "test", "train"),
        sex=[None if i % 9 == 0 else "FM"[i % 2] for i in number],
        age_years=20.0 + number % 60,
    )
    names = [f"Site {chr(65 + i)}" for i in range(sites)]
    meta = cohort_meta(SHAPE, names, name="source", classes=("normal", "covid"), spacing_mm=(5.0, 0.8, 0.7))
    return build_cohort(folder, table, meta, seed)


def serve(server: ScriptedS3, folder: Path, prefix: str = "data/cohort") -> None:
    files = (path for path in folder.rglob("*") if path.is_file())
    bucket = server.objects.setdefault("bucket", {})
    bucket |= {f"{prefix}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}


def exposed(
    cohort: Cohort, fractions: Sequence[float], seeds: Sequence[int]
) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return the rows that any attack of the grid sees: the naive union."""
    return np.unique(np.concatenate([exposed_rows(cohort, fraction=f, seed=s) for f in fractions for s in seeds]))


def volume_bytes(server: ScriptedS3) -> int:
    return sum(sent for key, sent in server.sent.items() if key.endswith(".npy"))
