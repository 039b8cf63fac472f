"""Tiny anisotropic cohorts for the tests of the format, and ways to damage them."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from flprivacy.cohorts.format import cohort_digest
from flprivacy.core.cohort import Cohort, CohortMeta
from flprivacy.core.parsing import from_mapping
from tests.cohort_builder import build_cohort, cohort_meta, scan_table

SHAPE = (3, 4, 5)
META = cohort_meta(SHAPE, ("Basel", "Lima", "Osaka"), classes=("normal", "covid"), spacing_mm=(5.0, 0.8, 0.7))


def manifest(scans: int = 24) -> pd.DataFrame:
    """Two scans a patient, sites in turn by patient, every fourth patient held out, some sex and age missing."""
    number = np.arange(scans)
    patient = number // 2
    return scan_table(
        scans,
        scan_id=[f"scan-secret-{i}" for i in number],
        patient_id=[f"patient-secret-{i}" for i in patient],
        site_id=patient % 3,
        split=np.where(patient // 3 % 4 == 3, "test", "train"),
        sex=[None if i % 5 == 0 else "FM"[i % 2] for i in patient],
        age_years=[np.nan if i % 7 == 0 else 40.0 + i / 3 for i in patient],
    )


def volumes(scans: int = 24, shape: tuple[int, int, int] = SHAPE) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (scans, *shape), dtype=np.uint8)


def write_tiny(folder: Path, scans: int = 24, meta: CohortMeta = META) -> Cohort:
    return build_cohort(folder, manifest(scans), meta, volumes(scans, meta.shape))


def change_manifest(
    folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame | None], *, redigest: bool = True
) -> None:
    """Rewrite the manifest as ``change`` returns or leaves it, and by default the digest in cohort.json with it."""
    frame = pd.read_parquet(folder / "manifest.parquet")
    changed = change(frame)
    frame = frame if changed is None else changed
    frame.to_parquet(folder / "manifest.parquet", index=False)
    if redigest:
        mapping = json.loads((folder / "cohort.json").read_text())
        meta = from_mapping(CohortMeta, mapping)
        change_meta(folder, digest=cohort_digest(frame, dataclasses.replace(meta, digest="")))


def change_meta(folder: Path, **fields: object) -> None:
    path = folder / "cohort.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def one_clear_line(error: BaseException, *words: str) -> None:
    """Check that a message is one line with the words expected, and tells no identifier."""
    text = str(error)
    assert "\n" not in text
    assert "secret" not in text
    assert ";" in text, "the remedy comes after a semicolon"
    for word in words:
        assert word in text, f"{word!r} is not in: {text}"
