"""What a source lists: scans that may be taken, those left out, and the error that leaves one out."""

import csv
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flprivacy.core.errors import CohortError

Volume = npt.NDArray[np.uint8]


class Reading(NamedTuple):
    """A scan's values, and what was noticed in them."""

    volume: Volume  # (depth, height, width)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One scan that may be taken. Its identifiers are pseudonyms already."""

    scan_id: str
    patient_id: str
    site: str
    label: str  # name of its class; empty where the cohort has no labels
    sex: str | None  # ``F``, ``M`` or None where not known
    age_years: float | None  # age, or None where not known
    split: str  # ``train``, ``test`` or empty where it is still to be drawn
    work: str  # name under which the volume is kept until all are read; another one whenever source or settings change
    read: Callable[[], Reading] = field(repr=False)  # reads the volume. Raises ScanError
    slices: int = 0
    missing: int = 0  # slices that are missing among them and were interpolated
    notes: tuple[str, ...] = ()  # what is worth knowing about its geometry
    person: str = ""  # the same for patient ids that differ only in how they are written; empty where not known


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A scan, file or row of the table that was not taken."""

    item: str  # pseudonym of the scan or file, or the number of the table's row
    reason: str  # a few words, the same for all items left out for it
    detail: str = ""  # what was seen; numbers and fixed words only


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What a source holds."""

    source: str  # ``dicom``, ``nifti`` or ``reference-pickles``
    shape: tuple[int, int, int]  # (depth, height, width) of every volume
    candidates: tuple[Candidate, ...]  # scans that may be taken
    left_out: tuple[LeftOut, ...]
    counts: dict[str, int] = field(default_factory=dict)  # other facts, such as how many files were looked at
    class_names: tuple[str, ...] = ()  # names of the classes, in order; empty where the candidates' labels name them
    notes: tuple[str, ...] = ()  # facts about the whole source


# What NumPy, the standard library, pydicom and nibabel raise on bytes that are not what they seem. Their messages may
# quote an identifier, so none of them is passed on.
DAMAGE: tuple[type[Exception], ...] = (
    ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError,
    NotImplementedError, OSError, RecursionError, RuntimeError, TypeError, ValueError,
    csv.Error, struct.error, zlib.error,
)  # fmt: skip
_OF_LIBRARIES = {
    "pydicom.errors": ("BytesLengthException", "InvalidDicomError"),
    "nibabel.filebasedimages": ("ImageFileError",),
    "nibabel.spatialimages": ("HeaderDataError",),
    "nibabel.wrapstruct": ("WrapStructError",),
}


def damage() -> tuple[type[Exception], ...]:
    """Return what parsers raise on damaged bytes, with the errors of the imaging libraries that are loaded."""
    loaded = [(sys.modules[module], names) for module, names in _OF_LIBRARIES.items() if module in sys.modules]
    return DAMAGE + tuple(getattr(module, name) for module, names in loaded for name in names)


class ScanError(CohortError):
    """One scan or file that cannot be taken; the import goes on. ``reason`` is the same for all of a kind."""

    def __init__(self, reason: str, detail: str = "", volume: Any = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.volume = volume  # (depth, height, width) to look at, where it could be read

    def left_out(self, item: str) -> LeftOut:
        """Return the entry of the report: ``item`` is a pseudonym or a row."""
        return LeftOut(item=item, reason=self.reason, detail=self.detail)


@contextmanager
def refusing(reason: str, detail: str = "") -> Iterator[None]:
    """Turn whatever a parser raises on foreign bytes into :class:`ScanError`, without the parser's words."""
    try:
        yield
    except CohortError:
        raise
    except damage() as error:
        # ``from None``: the parser's message must not appear in a traceback either.
        raise ScanError(reason, detail or type(error).__name__) from None
