"""What a source lists: scans that may be taken, and those that are left out already."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.importing.config import ImportConfig

Volume = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One scan that may be taken. Its identifiers are pseudonyms already.

    Attributes:
        scan_id: pseudonym of the scan.
        patient_id: pseudonym of its patient.
        site: name of its site.
        label: name of its class; empty where the cohort has no labels.
        sex: ``F``, ``M`` or None where not known.
        age_years: age, or None where not known.
        split: ``train``, ``test`` or empty where it is still to be drawn.
        work: name under which the volume is kept until all are read; another one whenever source or settings change.
        read: reads the volume, uint8 (depth, height, width). Raises ScanError.
        slices: slices of the source.
        missing: slices that are missing among them and were interpolated.
        notes: what is worth knowing about its geometry.
    """

    scan_id: str
    patient_id: str
    site: str
    label: str
    sex: str | None
    age_years: float | None
    split: str
    work: str
    read: Callable[[], Volume] = field(repr=False)
    slices: int = 0
    missing: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A scan, file or row of the table that was not taken.

    Attributes:
        item: pseudonym of the scan or file, or the number of the table's row.
        reason: a few words, the same for all items left out for it.
        detail: what was seen; numbers and fixed words only.
    """

    item: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What a source holds.

    Attributes:
        source: ``dicom``, ``nifti`` or ``flprivacy``.
        shape: (depth, height, width) of every volume.
        candidates: scans that may be taken.
        left_out: those that are not.
        counts: other facts, such as how many files were looked at.
        class_names: names of the classes, in order; empty where the candidates' labels name them.
        notes: facts about the whole source.
    """

    source: str
    shape: tuple[int, int, int]
    candidates: tuple[Candidate, ...]
    left_out: tuple[LeftOut, ...]
    counts: dict[str, int] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def settled_age(age_years: float | None, config: ImportConfig) -> float | None:
    """Return an age in whole years, that of the oldest for all above; finer ages would tell birthdays."""
    return None if age_years is None else float(min(int(age_years), config.oldest_age_years))
